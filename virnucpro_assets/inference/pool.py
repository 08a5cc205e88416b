"""The pool: one process per device, and a queue of tasks that the leased devices draw from.

Processes start when the first task comes and stay until the pool is closed, so that each
encoder is loaded once and start-up is paid once; for little work only some of them start. Work
goes through a lease, which owns its devices while it lasts; a device that is done takes the
next task, whichever rank it belongs to. A lease must be used from the main thread, because a
device process dies with the thread that started it.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from virnucpro_assets.errors import DeviceError, counted
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Failed
from virnucpro_assets.inference.process_handle import PROGRAM, ProcessHandle
from virnucpro_assets.inference.rounds import Died, Event, Round, Work
from virnucpro_assets.vocabulary import WhenBusy


@dataclass(frozen=True)
class PoolOptions:
    """How the processes of a pool are started and watched.

    `locks` is the folder of the device locks of this machine, `when_busy` what to do while another
    process owns a device, `stall_seconds` the time without progress after which a process counts
    as hanging, `max_restarts` how often in a row the process of a device may end before the device is
    given up. A process is started for every `flops_of_a_process` of work that is expected, at least one, at most
    one a device; 0 starts all. `program` are the interpreter's arguments that start a device process.
    """

    locks: Path
    when_busy: WhenBusy = "wait"
    stall_seconds: float = 900.0
    max_restarts: int = 3
    flops_of_a_process: float = 0.0
    program: tuple[str, ...] = PROGRAM


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
                f"device pool: found {counted(len(free), 'free device')}; expected {wanted}. "
                "Wait until the other lease ends."
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

    def run(self, queue: deque[Work], flops: float | None = None) -> Iterator[Event]:
        """Work through `queue` on the leased devices, yielding what happens as it happens.

        `flops` are the operations that all tasks are expected to take, where that is known.

        Every task ends with one Finished or Failed, or with Died if its process died of it. The caller may add tasks to
        the queue, or remove waiting ones, whenever it gets an event. Raises DeviceError if no device is left, BusyError
        if one is owned by another process and the options say refuse. If that happens or the caller stops iterating,
        the processes of the lease are ended.
        """
        if not queue:
            return
        options = self._pool.options
        round_ = Round(
            self._pool,
            list(self.devices),
            queue,
            options.stall_seconds,
            options.max_restarts,
            self._processes_for(flops),
        )
        try:
            yield from round_.events()
        finally:
            self._pool.end(round_.unfinished())

    def release_devices(self) -> None:
        """End the processes, so that others may own the devices; the next task starts them again."""
        self._pool.end(self.devices)

    def _processes_for(self, flops: float | None) -> int:
        worth = self._pool.options.flops_of_a_process
        return len(self.devices) if flops is None or not worth else max(1, math.ceil(flops / worth))

    def complete(
        self, tasks: Sequence[Work], report: Callable[[str], None], flops: float | None = None
    ) -> None:
        """Do all of `tasks`, each a second time if its process died; `flops` as in `run`.

        Raises DeviceError, naming the task, if one fails or its process dies again.
        """
        queue, died = deque(tasks), list[Work]()
        for event in self.run(queue, flops):
            match event.task, event.outcome:
                case None, str() as message:
                    report(message)
                case task, Died() as death if task is not None and task not in died:
                    report(f"{death.reason}; tried again")
                    died.append(task)
                    queue.appendleft(task)
                case task, (Died() | Failed()) as failure if task is not None:
                    raise DeviceError(f"{event.device}: {task.label} failed: {failure.reason}")
