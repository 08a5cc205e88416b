"""The pool: one process per device, and a queue of tasks that the leased devices draw from.

Processes start when the first task comes and stay until the pool is closed, so that one
encoder is loaded once and start-up is paid once. Work goes through a lease, which owns its
devices while it lasts; a device that is done takes the next task, whichever rank it belongs
to. A process that dies or hangs is started again and its other tasks go back to the queue;
the task that it died of is reported, and whoever gave it decides. A lease must be used from
the main thread, because a device process dies with the thread that started it.
"""

import selectors
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from virnucpro_assets.errors import BusyError, DeviceError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import (
    Advanced,
    Failed,
    Finished,
    PartTask,
    ProbeTask,
    Refused,
    Reply,
    SampleTask,
    Waiting,
)
from virnucpro_assets.inference.process_handle import PROGRAM, ProcessHandle
from virnucpro_assets.vocabulary import WhenBusy

LOOK_SECONDS = 1.0
"""How often the pool looks for processes that hang."""

Work = PartTask | ProbeTask | SampleTask


@dataclass(frozen=True)
class PoolOptions:
    """How the processes of a pool are started and watched.

    `locks` is the folder of the device locks of this machine, `when_busy` what to do while another
    process owns a device, `stall_seconds` the time without progress after which a process counts
    as hanging, `restarts` how often in a row the process of a device may end before the device is
    given up. `program` are the interpreter's arguments that start a device process.
    """

    locks: Path
    when_busy: WhenBusy = "wait"
    stall_seconds: float = 900.0
    restarts: int = 3
    program: tuple[str, ...] = PROGRAM


@dataclass(frozen=True)
class Died:
    """The process died of the task, in the pack of these rows if it had announced them."""

    reason: str
    rows: list[int]


@dataclass(frozen=True)
class Event:
    """What happened on a device: an outcome of `task`, or a message about the device itself."""

    device: Device
    task: Work | None
    outcome: Advanced | Finished | Failed | Died | str


class DevicePool:
    """Owns the processes of `devices`. Close it, or use it as a context manager."""

    def __init__(self, devices: Iterable[Device], options: PoolOptions) -> None:
        self.devices = list(devices)
        self.options = options
        self._processes: dict[Device, ProcessHandle] = {}
        self._leased: set[Device] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every device process, all at the same time."""
        self.end(list(self._processes))

    @contextmanager
    def lease(self, wanted: int | None = None) -> Iterator["Lease"]:
        """Own `wanted` free devices (all of them by default) for a while.

        Raises DeviceError if fewer are free.
        """
        free = [device for device in self.devices if device not in self._leased]
        wanted = len(self.devices) if wanted is None else wanted
        if len(free) < wanted:
            raise DeviceError(
                f"device pool: found {len(free)} free devices; expected {wanted}. Wait until the other lease ends."
            )
        chosen = free[:wanted]
        self._leased.update(chosen)
        try:
            yield Lease(self, chosen)
        finally:
            self._leased.difference_update(chosen)

    def process(self, device: Device) -> ProcessHandle:
        """The running process of a device, started if there is none."""
        if device not in self._processes:
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("device processes must be started from the main thread: they die with it")
            options = self.options
            self._processes[device] = ProcessHandle(device, options.locks, options.when_busy, options.program)
        return self._processes[device]

    def running(self, devices: Iterable[Device]) -> list[ProcessHandle]:
        """The processes of these devices that were started and not ended."""
        return [self._processes[device] for device in devices if device in self._processes]

    def end(self, devices: Iterable[Device]) -> None:
        """End the processes of devices, whatever they are doing."""
        ending = [self._processes.pop(device) for device in devices if device in self._processes]
        for process in ending:
            process.kill()
        for process in ending:
            process.stop()


class Lease:
    """Devices of a pool that belong to one user for a while."""

    def __init__(self, pool: DevicePool, devices: list[Device]) -> None:
        self._pool = pool
        self.devices = devices

    def run(self, queue: deque[Work]) -> Iterator[Event]:
        """Work through `queue` on the leased devices, yielding what happens as it happens.

        Every task ends with one Finished, Failed or Died. The caller may add tasks to the queue,
        or take away such as wait in it, whenever an event reaches it. Raises DeviceError if no
        device is left, BusyError if one is owned by another process and the options say refuse. If
        that happens or the caller stops listening, the processes of the lease are ended.
        """
        if not queue:
            return
        round_ = _Round(self._pool, list(self.devices), queue)
        try:
            yield from round_.events()
        finally:
            self._pool.end(round_.unfinished())

    def rest(self) -> None:
        """End the processes, so that others may own the devices; the next task starts them again."""
        self._pool.end(self.devices)

    def complete(self, tasks: Sequence[Work], report: Callable[[str], None]) -> None:
        """Do all of `tasks`, each a second time if its process died.

        Raises DeviceError, naming the task, if one fails or its process dies again.
        """
        queue, died = deque(tasks), list[Work]()
        for event in self.run(queue):
            match event.task, event.outcome:
                case None, str() as message:
                    report(message)
                case task, Died() as death if task is not None and task not in died:
                    report(f"{death.reason}; tried again")
                    died.append(task)
                    queue.appendleft(task)
                case task, (Died() | Failed()) as failure if task is not None:
                    raise DeviceError(f"{event.device}: {task.label} failed: {failure.reason}")


@dataclass
class _Round:
    """One pass through a queue, on those of the devices whose processes stay alive."""

    pool: DevicePool
    devices: list[Device]
    queue: deque[Work]
    deaths: dict[Device, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def events(self) -> Iterator[Event]:
        while self.queue or any(process.tasks for process in self.pool.running(self.devices)):
            self._feed()
            readable = self._readable()
            for process in self.pool.running(self.devices):
                if process in readable:
                    yield from self._hear(process)
                elif why := process.stalled(self.pool.options.stall_seconds):
                    process.kill()
                    yield from self._bury(process, process.how_it_ended(why))

    def unfinished(self) -> list[Device]:
        """The devices whose process still holds a task, or does not own its device yet."""
        running = self.pool.running(self.devices)
        return [process.device for process in running if process.tasks or not process.is_ready]

    def _feed(self) -> None:
        for device in self.devices:
            if self.queue and (process := self.pool.process(device)).wants_work:
                process.send(next(self.numbers), self.queue.popleft())

    def _readable(self) -> list[ProcessHandle]:
        with selectors.DefaultSelector() as selector:
            for process in self.pool.running(self.devices):
                selector.register(process.fileno(), selectors.EVENT_READ, process)
            return [key.data for key, _ in selector.select(LOOK_SECONDS)]

    def _hear(self, process: ProcessHandle) -> Iterator[Event]:
        try:
            for reply in process.read():
                yield from self._understand(process, reply)
        except DeviceError as ended:
            yield from self._bury(process, str(ended))

    def _understand(self, process: ProcessHandle, reply: Reply) -> Iterator[Event]:
        match reply:
            case Waiting():
                yield Event(process.device, None, f"device {process.device}: {reply.reason}")
            case Refused():
                raise BusyError(f"device {process.device}: {reply.reason}")
            case Advanced():
                yield Event(process.device, process.tasks[reply.number], reply)
            case Finished() | Failed():
                self.deaths[process.device] = 0
                yield Event(process.device, process.tasks.pop(reply.number), reply)

    def _bury(self, process: ProcessHandle, reason: str) -> Iterator[Event]:
        """Put a dead process away: its tasks go back to the queue but for the one that it died of."""
        device = process.device
        blamed = process.tasks.pop(process.in_work, None) if process.in_work is not None else None
        self.queue.extendleft(reversed(process.tasks.values()))
        process.tasks.clear()
        self.pool.end([device])
        if not isinstance(blamed, ProbeTask):
            # Probes are there to die: their number is limited by whoever sends them.
            self.deaths[device] = self.deaths.get(device, 0) + 1
        if self.deaths.get(device, 0) > self.pool.options.restarts:
            self.devices.remove(device)
            yield Event(device, None, f"{reason}; it ended too often and its device is given up")
        if blamed is not None:
            yield Event(device, blamed, Died(reason, process.pack))
        else:
            yield Event(device, None, reason)
        if not self.devices:
            raise DeviceError(f"{reason}. No device is left. Finished parts are kept: run it again.")
