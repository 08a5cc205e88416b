"""The pool's side of one device process: start it, send tasks, read replies, end it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import (
    REPLIES,
    Advanced,
    Failed,
    Finished,
    PartTask,
    Ready,
    SampleTask,
)

STOP_SECONDS = 3.0
LOG_TAIL = 2000


class ProcessHandle:
    """A running device process and the tasks that it holds, oldest first."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.tasks: deque[PartTask | SampleTask] = deque()
        self._unread = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "virnucpro_assets.inference.device_process",
                *("--kind", device.kind),
                *("--number", str(device.number)),
                *("--threads", str(device.threads)),
                *("--parent", str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise DeviceError(f"device process {device}: started without pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor that becomes readable when replies are there or the process has ended."""
        return self._stdout.fileno()

    def send(self, task: PartTask | SampleTask) -> None:
        """Hand a task to the process."""
        try:
            self._stdin.write(task.model_dump_json().encode() + b"\n")
        except BrokenPipeError as error:
            raise DeviceError(self._how_it_ended()) from error
        self.tasks.append(task)

    def read(self) -> Iterator[Ready | Advanced | Finished | Failed]:
        """The replies that are there now. Raises DeviceError if the process has ended."""
        received = os.read(self.fileno(), 1 << 16)
        if not received:
            raise DeviceError(self._how_it_ended())
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            yield REPLIES.validate_json(line)

    def stop(self) -> None:
        """End the process: ask it if it is idle, kill it if it is in the middle of a task."""
        if self.tasks:
            self._process.kill()
        self._stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._log.close()

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._log.seek(0)
        tail = self._log.read()[-LOG_TAIL:].decode(errors="replace").strip()
        last_line = tail.splitlines()[-1] if tail else "it left no message"
        work = f"at {self.tasks[0].label}" if self.tasks else "before its first task"
        return f"device process {self.device}: ended {how} {work} ({last_line}). Finished parts are kept: run it again."
