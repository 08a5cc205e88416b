"""Stamps: by what a file is taken for unchanged without reading it.

Size, times of change and inode, as build tools do. The second time is that of the system's own record of the file,
which nobody can set back. A file that was changed less than SETTLED ago may change again without another time, on a
disk with coarse clocks: it has no stamp yet. A bit that the disk lost changes no stamp: whoever must know that reads
the content.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from virnucpro_assets.files.digests import FileRecord, check_file

SETTLED = 1.0
"""Seconds: the coarsest clock of a file system that still gives one inode to one file."""

DIGESTING = 8
"""Threads that read and digest files."""


def stamp_of(path: Path) -> str:
    """Size in bytes, both times in nanoseconds and inode of a file; empty if it changed just now."""
    status = path.stat()
    is_settled = time.time() - max(status.st_mtime, status.st_ctime) >= SETTLED
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}" if is_settled else ""


def is_unchanged(path: Path, stamp: str) -> bool:
    """Whether there is a file at `path` with this stamp; no file has the empty one."""
    return bool(stamp) and path.is_file() and stamp_of(path) == stamp


class VerifiedFiles:
    """Files whose content was verified: each is not read again for that while it keeps its stamp. Thread-safe."""

    def __init__(self) -> None:
        self._stamps: dict[Path, str] = {}

    def require(self, path: Path, expected: FileRecord) -> None:
        """Raise IntegrityError unless the content is as recorded, now or when it had the stamp that it has now."""
        if not is_unchanged(path, self._stamps.get(path, "")):
            # The stamp first: a change while the file is read gives it another one.
            stamp = stamp_of(path) if path.is_file() else ""
            check_file(path, expected, content=True)
            self._stamps[path] = stamp

    def require_all(self, files: Iterable[tuple[Path, FileRecord]]) -> None:
        """`require` each of the files, several at a time; the error is that of the first one."""
        with ThreadPoolExecutor(DIGESTING, "verify") as threads:
            for _ in threads.map(lambda file: self.require(*file), files):
                pass
