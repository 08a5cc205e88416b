"""Stamps: by what a file is taken for unchanged without reading it.

Size, times of change and inode, as build tools do. The second time is that of the system's own record of the file,
which nobody can set back. A file that was changed less than SETTLED ago may change again without another time, on a
disk with coarse clocks: it has no stamp yet. A bit that the disk lost changes no stamp: whoever must know that reads
the content.
"""

import time
from pathlib import Path

SETTLED = 1.0
"""Seconds: the coarsest clock of a file system that still gives one inode to one file."""


def stamp_of(path: Path) -> str:
    """Size in bytes, both times in nanoseconds and inode of a file; empty if it changed just now."""
    status = path.stat()
    is_settled = time.time() - max(status.st_mtime, status.st_ctime) >= SETTLED
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}" if is_settled else ""


def is_unchanged(path: Path, stamp: str) -> bool:
    """Whether there is a file at `path` with this stamp; no file has the empty one."""
    return bool(stamp) and path.is_file() and stamp_of(path) == stamp
