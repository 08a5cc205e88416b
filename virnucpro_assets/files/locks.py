"""Exclusive locks of the kernel: one process at a time holds one, at most until it ends.

A lock is a file that its owner keeps locked (flock) and in which it writes its name. The kernel releases the lock when
the owner ends, for whatever reason, so a file that was left behind has no effect and no clock is needed. The file
stays: if it were removed, two processes could hold the lock, one on the removed file and one on a new one. A child
process does not inherit the lock.

Everybody who may create files in the folder of a lock may take it: the file gets the folder's permissions, whatever
the umask is. A symbolic link or anything else in its place is not followed or written to.
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

from virnucpro_assets.errors import BusyError, InputError, IntegrityError
from virnucpro_assets.vocabulary import WhenBusy

POLL_SECONDS = 0.2
OPEN_ATTEMPTS = 10
LOCK_FOLDERS = (Path("/run/lock"), Path("/dev/shm"))  # noqa: S108 - shared by all users on purpose


@dataclass
class FileLock:
    """The lock at `path`; `owner` is the name of its holder in messages to others."""

    path: Path
    owner: str
    _descriptor: int | None = field(default=None, repr=False)

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or return its holder.

        Raises IntegrityError if the path is not a plain file, OSError with the path if its folder or file system
        does not allow locks.
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
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def locked(
    path: Path, owner: str, when_busy: WhenBusy, report: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Hold the lock at `path` for the block.

    If another process holds it: with `wait` calls `report` once and waits, with `refuse` raises BusyError, which
    names the holder.
    """
    lock = FileLock(path, owner)
    acquire([lock], when_busy, report)
    try:
        yield
    finally:
        lock.release()


def acquire(locks: Sequence[FileLock], when_busy: WhenBusy, report: Callable[[str], None]) -> None:
    """Take the first of `locks` that is free, or wait or raise BusyError like `locked`."""
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
    """The holder of each of `locks`, or None if one of them was free and is now taken."""
    holders = []
    for lock in locks:
        holder = lock.try_acquire()
        if holder is None:
            return None
        holders.append(holder)
    return holders


def _open(path: Path) -> int:
    """Open the file of a lock, or create it, without following or changing anything else."""
    for attempt in range(OPEN_ATTEMPTS):
        try:
            return _opened(path)
        except PermissionError:
            # Another user is creating the file and has not set its permissions yet.
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
    """The holder as text; a process that has just taken the lock may not have written it yet."""
    try:
        about = json.loads(content)
        return f"{about['owner']} (process {about['pid']} on {about['host']})"
    except (ValueError, TypeError, KeyError):
        return "another process"


def machine_locks(folders: Sequence[Path] = LOCK_FOLDERS) -> Path:
    """The folder for the locks of this machine's devices: the first of `folders` that root shares with all users.

    In such a folder everybody may create files and nobody may remove those of others. It depends on no variable: a
    batch system or a service gives each job its own temporary folder, and two jobs would each own the same GPU.
    Raises InputError if there is none.
    """
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            found = folder.stat()
            if found.st_uid == 0 and found.st_mode & stat.S_ISVTX and found.st_mode & stat.S_IWOTH:
                return folder
    raise InputError(
        "setting locks_folder",
        found=f"none of {', '.join(map(str, folders))} that root shares with all users (mode 1777)",
        expected="one folder for the locks of this machine's devices",
        advice="Set VIRNUCPRO_LOCKS_FOLDER to a folder in which all who use these devices may make files.",
    )
