"""Exclusive locks that the kernel holds: one process at a time, and none after its end.

A lock is a file that its owner keeps locked (flock) while it works and in which it writes who
it is. The kernel gives the lock back when the owner ends, however it ends, so a file that was
left behind means nothing, and no clock is asked. The file stays: to remove it would let two
owners in, one on the removed file and one on a new one. A child process does not inherit the
lock.

Whoever may make files in the folder of a lock may take it: the file is given the folder's permissions,
whatever the umask is. What others may have put in its place is never followed or written to.
"""

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from virnucpro_assets.errors import BusyError, IntegrityError
from virnucpro_assets.vocabulary import WhenBusy

POLL_SECONDS = 0.2
OPEN_ATTEMPTS = 10


@dataclass
class FileLock:
    """The lock at `path`; `owner` is what others read of whoever holds it."""

    path: Path
    owner: str
    _descriptor: int | None = field(default=None, repr=False)

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or return who holds it.

        Raises IntegrityError if the path is not a plain file, OSError, naming the path, if its
        folder or file system takes no locks.
        """
        if self._descriptor is not None:
            raise ValueError(f"{self.path} is held by this object already")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(self.path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(self.path, descriptor):
                # Removed since it was opened, so another process may own a new file of this name.
                os.close(descriptor)
                return self.try_acquire()
            about = {"owner": self.owner, "pid": os.getpid(), "host": socket.gethostname()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(about).encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            return _readable(holder)
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(path: Path, owner: str, when_busy: WhenBusy, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path` for the block.

    While another process holds it: with `wait` says so once through `report` and waits, with
    `refuse` raises BusyError, which names the holder.
    """
    lock = FileLock(path, owner)
    acquire([lock], when_busy, report)
    try:
        yield
    finally:
        lock.release()


def acquire(locks: Sequence[FileLock], when_busy: WhenBusy, report: Callable[[str], None]) -> None:
    """Take the first of `locks` that is free, waiting for one or refusing to, as `locked` does."""
    holders = _holders_of(locks)
    if holders is None:
        return
    held = list(zip(locks, holders, strict=True))
    if when_busy == "refuse":
        found = "; ".join(f"{lock.path}: found it held by {holder}" for lock, holder in held)
        raise BusyError(f"{found}; expected it free. Wait until that ends, or set VIRNUCPRO_WHEN_BUSY=wait.")
    report("waiting for " + " or ".join(f"{lock.path}, which {holder} holds" for lock, holder in held))
    while _holders_of(locks) is not None:
        time.sleep(POLL_SECONDS)


def _holders_of(locks: Sequence[FileLock]) -> list[str] | None:
    """Who holds each of `locks`, or None if one of them is taken now."""
    holders = []
    for lock in locks:
        holder = lock.try_acquire()
        if holder is None:
            return None
        holders.append(holder)
    return holders


def _open(path: Path) -> int:
    """Open the file of a lock, made if there is none, without following or changing anything else."""
    for attempt in range(OPEN_ATTEMPTS):
        try:
            return _opened(path)
        except PermissionError:
            # Another user makes the file just now, and has not yet let others in.
            if attempt == OPEN_ATTEMPTS - 1:
                raise
            time.sleep(POLL_SECONDS / OPEN_ATTEMPTS)
    raise AssertionError


def _opened(path: Path) -> int:
    # A link in a folder that others may write to could point anywhere; a pipe would block.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            # Where all users share a folder, the system may refuse O_CREAT for a file of another user.
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(descriptor, path.parent.stat().st_mode & 0o666)
    except FileExistsError:
        return _opened(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _no_lock_file(path, "a symbolic link") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        what = (
            "something that is no plain file" if found.st_nlink <= 1 else "a file that has another name too"
        )
        raise _no_lock_file(path, what)
    return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _no_lock_file(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        path,
        found=found,
        expected="the file of a lock, or none",
        advice="Look who put it there, and remove it.",
    )


def _readable(content: bytes) -> str:
    """The holder as a phrase; whoever took the lock a moment ago may not have written it yet."""
    try:
        about = json.loads(content)
        return f"{about['owner']} (process {about['pid']} on {about['host']})"
    except (ValueError, TypeError, KeyError):
        return "another process"
