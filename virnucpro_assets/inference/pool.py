"""The pool: one process per device, and a queue of tasks that the leased devices draw from.

Processes start when the first task comes and stay until the pool is closed, so that one
encoder is loaded once and start-up is paid once. Work goes through a lease, which owns its
devices while it lasts; a device that is done takes the next task, whichever rank it belongs
to. A lease must be used from the main thread, because a device process dies with the thread
that started it.
"""

import selectors
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Advanced, Failed, Finished, PartTask, Ready, SampleTask
from virnucpro_assets.inference.process_handle import ProcessHandle

TASKS_AHEAD = 2
"""Tasks a process holds at a time: one in work and one to go on with at once."""

Event = tuple[PartTask | SampleTask, Device, Advanced | Finished | Failed]


class DevicePool:
    """Owns the processes of `devices`. Close it, or use it as a context manager."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self.devices = list(devices)
        self._processes: dict[Device, ProcessHandle] = {}
        self._leased: set[Device] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every device process."""
        for device in list(self._processes):
            self.end(device)

    @contextmanager
    def lease(self, count: int | None = None) -> Iterator["Lease"]:
        """Own `count` free devices (all of them by default) for a while.

        Raises DeviceError if fewer are free.
        """
        free = [device for device in self.devices if device not in self._leased]
        wanted = len(self.devices) if count is None else count
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
            self._processes[device] = ProcessHandle(device)
        return self._processes[device]

    def end(self, device: Device) -> None:
        """End the process of a device, whatever it is doing."""
        if device in self._processes:
            self._processes.pop(device).stop()


class Lease:
    """Devices of a pool that belong to one user for a while."""

    def __init__(self, pool: DevicePool, devices: list[Device]) -> None:
        self._pool = pool
        self.devices = devices

    def run(self, tasks: Iterable[PartTask | SampleTask]) -> Iterator[Event]:
        """Work through `tasks` on the leased devices, yielding what happens as it happens.

        Every task ends with one Finished or Failed. Raises DeviceError if a process dies. If
        that happens or the caller stops listening, the processes of the lease are ended.
        """
        waiting = deque(tasks)
        if not waiting:
            return
        completed = False
        try:
            yield from _events([self._pool.process(device) for device in self.devices], waiting)
            completed = True
        finally:
            if not completed:
                for device in self.devices:
                    self._pool.end(device)


def _events(processes: list[ProcessHandle], waiting: deque[PartTask | SampleTask]) -> Iterator[Event]:
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.fileno(), selectors.EVENT_READ, process)
            _feed(process, waiting)
        while any(process.tasks for process in processes):
            for key, _ in selector.select():
                ready: ProcessHandle = key.data
                for reply in ready.read():
                    if isinstance(reply, Ready):
                        continue
                    task = ready.tasks[0]
                    if not isinstance(reply, Advanced):
                        ready.tasks.popleft()
                        _feed(ready, waiting)
                    yield task, ready.device, reply


def _feed(process: ProcessHandle, waiting: deque[PartTask | SampleTask]) -> None:
    while waiting and len(process.tasks) < TASKS_AHEAD:
        process.send(waiting.popleft())
