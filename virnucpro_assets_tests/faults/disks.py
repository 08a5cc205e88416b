"""Small disks that really are full or read-only, without the rights of an administrator.

A shell in a user and mount namespace of its own holds a file system in memory, which all other
processes reach through the shell's root under /proc. Where the machine allows no such namespace,
the kernel is asked to refuse long files instead, and files stand where folders should be.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

SPACE = 1 << 24


class Disk(Protocol):
    """A place for files whose kernel can be made to refuse them.

    `full` and `read_only` are what it says then, `counts` whether it knows of bytes that are left.
    """

    folder: Path
    full: str
    read_only: str
    counts: bool

    def fill(self, room: int) -> None:
        """Leave `room` bytes, rounded to pages, or none if it does not count."""

    def lock(self) -> None:
        """Take no change any more."""

    def heal(self) -> None:
        """Take files again."""


@contextmanager
def small_disk(folder: Path, writers: list[int], *, in_memory: bool) -> Iterator[Disk]:
    """A disk at `folder`, which the processes `writers` write to, in memory if the machine allows it."""
    folder.mkdir()
    disturbed = _DisturbedFolder(folder, writers)
    if not in_memory:
        yield disturbed
        return
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as shell:
        disk = _MemoryDisk(shell, folder)
        yield disk if disk.is_there else disturbed
        shell.kill()


class _MemoryDisk:
    full, read_only = "No space left on device", "Read-only file system"
    counts = True

    def __init__(self, shell: subprocess.Popen[str], folder: Path) -> None:
        self._shell, self._mounted = shell, folder
        self.folder = Path(f"/proc/{shell.pid}/root{folder}")
        self.is_there = self._do(f"mount -t tmpfs -o size={SPACE} none '{folder}'")

    def _do(self, command: str) -> bool:
        try:
            self._shell.stdin.write(f"{command} >/dev/null 2>&1; echo $?\n")
            self._shell.stdin.flush()
        except BrokenPipeError:
            return False
        return self._shell.stdout.readline() == "0\n"

    def _used(self) -> int:
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def fill(self, room: int) -> None:
        assert self._do(f"mount -o remount,size={self._used() + room} '{self._mounted}'")

    def lock(self) -> None:
        assert self._do(f"mount -o remount,ro '{self._mounted}'")

    def heal(self) -> None:
        assert self._do(f"mount -o remount,rw,size={SPACE} '{self._mounted}'")


class _DisturbedFolder:
    full, read_only = "File too large", "Not a directory"
    counts = False

    def __init__(self, folder: Path, writers: list[int]) -> None:
        self.folder, self._writers = folder, writers
        self._aside = folder.with_name(f"{folder.name}-aside")

    def fill(self, room: int) -> None:
        for pid in self._writers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def lock(self) -> None:
        self.folder.rename(self._aside)
        self.folder.touch()

    def heal(self) -> None:
        for pid in self._writers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        if self._aside.exists():
            self.folder.unlink()
            self._aside.rename(self.folder)
