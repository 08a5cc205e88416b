"""Device processes that stay warm between tests: a process that a pool ends while it is idle serves the next pool.

A start costs seconds of processor time, most of it the import of PyTorch. What tests of starts, locks and
ends of device processes need is the real thing; all others use the fixture `warm_devices`.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.process_handle import PROGRAM, ProcessHandle
from virnucpro_assets.vocabulary import WhenBusy


class WarmDevices:
    """Takes the place of `ProcessHandle` in a pool. Each process has its lock in a folder of its own."""

    def __init__(self, locks: Path) -> None:
        self._locks = locks
        self._started = 0
        self.idle: dict[Device, list[WarmProcess]] = {}

    def __call__(
        self, device: Device, locks: Path, when_busy: WhenBusy, program: Sequence[str] = PROGRAM
    ) -> ProcessHandle:
        """An idle process of the device if there is one, else a new one; with another program it is never kept."""
        if tuple(program) != PROGRAM:
            return ProcessHandle(device, locks, when_busy, program)
        while idle := self.idle.get(device):
            process = idle.pop()
            if process.wake():
                return process
            process.end()
        self._started += 1
        return WarmProcess(device, self._locks / str(self._started), self)

    def close(self) -> None:
        """End all processes."""
        for process in (process for idle in self.idle.values() for process in idle):
            process.end()


class WarmProcess(ProcessHandle):
    """A device process that goes back to `home` when its pool ends it between two tasks."""

    def __init__(self, device: Device, locks: Path, home: WarmDevices) -> None:
        super().__init__(device, locks, "refuse")
        self._home = home

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.tasks and self._process.poll() is None

    def wake(self) -> bool:
        """Whether it still runs; its silence while nobody read counts from now."""
        self._heard = self._progressed = time.monotonic()
        return self._process.poll() is None

    def kill(self) -> None:
        if not self.is_idle:
            super().kill()

    def stop(self) -> None:
        if self.is_idle:
            self._home.idle.setdefault(self.device, []).append(self)
        else:
            super().stop()

    def end(self) -> None:
        """End it for good."""
        super().kill()
        super().stop()
