"""The pool's side of one device process: start it, send orders, read replies, end it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from virnucpro_assets.errors import DeviceError, excerpt
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import (
    REPLIES,
    Alive,
    Began,
    Failed,
    Finished,
    Order,
    PackStarted,
    Ready,
    Reply,
    Task,
    Waiting,
)
from virnucpro_assets.vocabulary import WhenBusy

STOP_SECONDS = 3.0
SILENCE_SECONDS = 120.0
"""A process that owns its device says every few seconds that it is alive, unless something holds all
of its threads: a signal, a driver, or a library that does not let go of the interpreter."""

LOG_TAIL = 2000
INSTALLATION = (
    "This is a fault of the installation (Python, PyTorch or the driver), not of the reads: repair it first"
)
"""The message where a process fails before its first task: no task can be the cause."""

PROGRAM = ("-m", "virnucpro_assets.inference.device_process")


class ProcessHandle:
    """A running device process and the tasks that it holds, by number, oldest first.

    `in_work` is the number of the task that it computes, and `pack` the rows of the pack that went
    into the model last, if the task was to announce them. It `is_waiting` while another process owns its device.
    """

    def __init__(
        self, device: Device, locks: Path, when_busy: WhenBusy, program: Sequence[str] = PROGRAM
    ) -> None:
        self.device = device
        self.tasks: dict[int, Task] = {}
        self.is_ready = False
        self.in_work: int | None = None
        self.pack: list[int] = []
        self._begun: set[int] = set()
        self.is_waiting = False
        self._last_reply = self._last_progress = time.monotonic()
        self._unread = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(
            [
                # Without -P a file random.py of the user's in the working folder would be run as the library's.
                *(sys.executable, "-P"),
                *program,
                *("--kind", device.kind),
                *("--number", str(device.number)),
                *("--uuid", device.uuid),
                *("--any-of", str(device.any_of)),
                *("--threads", str(device.threads)),
                *("--parent", str(os.getpid())),
                *("--locks", str(locks)),
                *("--when-busy", when_busy),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise DeviceError(f"device process {device}: found no pipes to it; expected two. {INSTALLATION}")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def begun(self) -> dict[int, Task]:
        """The tasks that it has begun and not ended: one that it computes, and maybe one that it writes."""
        return {number: task for number, task in self.tasks.items() if number in self._begun}

    @property
    def wants_work(self) -> bool:
        """Whether it should be sent a task: one to go on with beside the one in work."""
        return self.is_ready and len(self.tasks) == len(self._begun)

    def fileno(self) -> int:
        """The descriptor that becomes readable when replies are there or the process has ended."""
        return self._stdout.fileno()

    def send(self, number: int, task: Task) -> None:
        """Hand a task to the process under a number that no other task of it has."""
        if not self.tasks:
            self._last_progress = time.monotonic()
        self.tasks[number] = task
        try:
            self._stdin.write(Order(number=number, task=task).model_dump_json().encode() + b"\n")
        except BrokenPipeError:
            # It has ended, and its standard output will say so as well.
            return

    def read(self) -> Iterator[Reply]:
        """The replies that are there now. Raises DeviceError if the process has ended."""
        received = os.read(self.fileno(), 1 << 16)
        if not received:
            raise DeviceError(self.how_it_ended())
        self._last_reply = time.monotonic()
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            try:
                reply = REPLIES.validate_json(line)
            except ValidationError as error:
                found = excerpt(repr(line.decode(errors="replace")))
                raise DeviceError(
                    f"device process {self.device}: found {found} on its standard output; expected a reply. "
                    f"{INSTALLATION}"
                ) from error
            self._note(reply)
            yield reply

    def _note(self, reply: Reply) -> None:
        if not isinstance(reply, Alive):
            self._last_progress = time.monotonic()
        match reply:
            case Waiting():
                self.is_waiting = True
            case Ready():
                self.is_ready, self.is_waiting = True, False
            case Began():
                self.in_work, self.pack = reply.number, []
                self._begun.add(reply.number)
            case PackStarted():
                self.pack = reply.rows
            case Finished() | Failed():
                self._begun.discard(reply.number)
                if reply.number == self.in_work:
                    self.in_work, self.pack = None, []

    def stalled(self, stall_seconds: float) -> str | None:
        """Why the process counts as hanging, or None: it was silent or without progress for too long."""
        now = time.monotonic()
        if self.is_waiting or (self.is_ready and not self.tasks):
            return None
        if now - self._last_progress > stall_seconds:
            return f"made no progress for {now - self._last_progress:.0f} s"
        silence = min(stall_seconds, SILENCE_SECONDS)
        if self.is_ready and now - self._last_reply > silence:
            return f"gave no sign of life for {now - self._last_reply:.0f} s"
        return None

    def kill(self) -> None:
        """End the process at once; `stop` or `how_it_ended` waits for its end."""
        self._process.kill()

    def stop(self) -> None:
        """End the process, whatever it is doing: all that it has finished is on the disk."""
        self.kill()
        self._wait()
        self._stdin.close()
        self._stdout.close()
        self._log.close()

    def how_it_ended(self, why: str | None = None) -> str:
        """The end of the process in words: signal or exit code, its last line, and what it worked at.

        `why` is given where the pool has ended it.
        """
        code = self._wait()
        if why:
            how = f"{why} and was ended"
        elif code is None:
            how = "closed its pipe and did not end"
        elif code < 0:
            how = f"ended by signal {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        self._log.seek(0)
        tail = self._log.read()[-LOG_TAIL:].decode(errors="replace").strip()
        last_line = excerpt(tail.splitlines()[-1]) if tail else "it left no message"
        tasks = " or ".join(task.label for task in self.begun.values())
        work = f"at {tasks}" if tasks else "between tasks" if self.is_ready else "before its first task"
        message = f"device process {self.device}: {how} {work} ({last_line})"
        # A signal may come from outside, for example from the kernel when memory is short.
        return message if self.is_ready or why or code is None or code < 0 else f"{message}. {INSTALLATION}"

    def _wait(self) -> int | None:
        """Its exit code, or None if it does not end in time: a driver can hold on to a killed process."""
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None
