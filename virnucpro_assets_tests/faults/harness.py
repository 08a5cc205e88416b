"""What the cases of this folder share: a step as a process, its device processes, what it wrote and computed."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from virnucpro_assets.inference.device_process import lock_of
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets_tests.faults.embed_program import Specification
from virnucpro_assets_tests.jobs import Contents, Rows, contents, rows_of_job

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reference:
    """A job computed without interruption: the digests of its parts and every row's numbers."""

    contents: Contents
    rows: Rows

    @property
    def parts(self) -> int:
        return len(self.contents)


def reference_of(job: ShardJob) -> Reference:
    """What a finished job holds."""
    return Reference(contents(read_shard(folder) for folder in job.folders.values()), rows_of_job(job))


def assert_equal(job: ShardJob, reference: Reference) -> None:
    """A finished job holds bit for bit what the uninterrupted one does: row by row, and part by part."""
    rows = rows_of_job(job)
    assert rows.keys() == reference.rows.keys()
    for row, expected in reference.rows.items():
        assert rows[row].tobytes() == expected.tobytes(), f"row {row} differs"
    assert contents(read_shard(folder) for folder in job.folders.values()) == reference.contents


def leftovers(job: ShardJob) -> list[Path]:
    """Temporary files. Only a process that is killed may leave some; the next one to claim the shard removes them."""
    return [path for folder in job.folders.values() for path in folder.glob("*.partial-*")]


def part_files(job: ShardJob) -> list[Path]:
    """The parts that are there, sorted."""
    return sorted(path for folder in job.folders.values() for path in folder.glob("part-*.h5"))


class PartLog:
    """What device processes with `Faults.log` wrote about their parts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[tuple[str, int, str]]:
        """What happened (`begun`, `packed` for a pack of it, `written`), in which process, to which part."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        words = [line.split(" ", 2) for line in lines]
        return [(what, int(pid), part) for what, pid, part in words]

    def count(self, what: str) -> Counter[str]:
        """How often something happened to each part."""
        return Counter(part for event, _, part in self.events() if event == what)

    def begun_again(self) -> int:
        """How many computations of a part were begun beyond the first one of each."""
        return sum(times - 1 for times in self.count("begun").values())

    def untried(self) -> set[int]:
        """The processes whose last part was never begun by another one.

        A part that ends process after process is done in smaller packs: whoever kills at random
        spares what was killed before, so that this is left to sequences that deserve it.
        """
        last = {pid: part for what, pid, part in self.events() if what == "begun"}
        begun = self.count("begun")
        return {pid for pid, part in last.items() if begun[part] == 1}

    def lost(self, pid: int, kept: Iterable[Path] = ()) -> dict[str, int]:
        """The parts that a process began and did not write, each with the packs that it computed of it.

        Parts that are `kept` are not lost, even if the process ended before it said that they are written.
        """
        of_process = [(what, part) for what, process, part in self.events() if process == pid]
        written = {part for what, part in of_process if what == "written"} | {part_of(path) for path in kept}
        begun = [part for what, part in of_process if what == "begun" and part not in written]
        return {part: of_process.count(("packed", part)) for part in begun}


def part_of(path: Path) -> str:
    """A part as the log names it: encoder, rank and number."""
    rank, number = path.parent.name.split("-")[1], path.stem.removeprefix("part-")
    return f"{path.parent.parent.name} {int(rank)} {int(number)}"


class Step:
    """A running `embed_program`; use it as a context manager, so that nothing outlives a failed test."""

    def __init__(self, specification: Specification, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.specification = specification
        self._given = folder / "specification.json"
        self._given.write_text(specification.model_dump_json())
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "virnucpro_assets_tests.faults.embed_program", str(self._given)],
                cwd=ROOT,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> "Step":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    @property
    def said(self) -> list[dict]:
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    @property
    def heard(self) -> list[str]:
        return [line["heard"] for line in self.said if "heard" in line]

    def device_processes(self) -> list[psutil.Process]:
        """The device processes of this step that run, by the parent that they were told."""
        return device_processes_of(self.process.pid)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for something that happens while the step runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the step ended early: {self.errors}"
            assert time.monotonic() < deadline, "it never came about"
            time.sleep(0.01)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def device_processes_of(parent: int) -> list[psutil.Process]:
    """All processes that were started as device processes of `parent`, whoever their parent is now."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("device_process" in word for word in words) and str(parent) in words:
            found.append(process)
    return found


def assert_nothing_is_left(step: Step, seconds: float = 5) -> None:
    """No device process outlives a step by more than `seconds`, and its devices are free."""
    deadline = time.monotonic() + seconds
    while orphans := step.device_processes():
        assert time.monotonic() < deadline, f"device processes outlived their step: {orphans}"
        time.sleep(0.02)
    # The kernel takes the memory of a process first, with its command line, and then its files.
    locks = [lock_of(step.specification.locks, "cpu", number) for number in step.specification.devices]
    while held := [lock for lock in locks if not is_free(lock)]:
        assert time.monotonic() < deadline, f"still held: {held}"
        time.sleep(0.02)


def is_free(lock: Path) -> bool:
    """Whether nobody holds the lock at `lock` now."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def one_line(text: str) -> str:
    """`text`, which must be a single line without a trace of Python."""
    assert "Traceback" not in text, text
    (line,) = text.strip().splitlines()
    assert not re.search(r"<class|object at 0x", line)
    return line
