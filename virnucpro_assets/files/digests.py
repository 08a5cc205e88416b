"""SHA-256 digests of files, the record of a file by size and digest, and stamps.

A stamp shows without reading a file whether it has changed, like in build tools: its size, both times and inode. The
second time is the system's own record of the last change, which nobody can set back. A file that changed less than
SETTLED seconds ago has no stamp yet, because on a disk with coarse clocks it may change again with the same time. A bit
that the disk lost changes no stamp: to find it, read the content.
"""

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError, counted

SETTLED = 1.0
"""Seconds: the coarsest clock of file systems with inodes."""

DIGESTING = 8
"""Threads that read and digest files."""


class FileRecord(BaseModel):
    """Size and digest of one file in a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_of_file(path: Path) -> FileRecord:
    """Size (bytes) and SHA-256 of the file at `path`."""
    return FileRecord(size=path.stat().st_size, sha256=sha256_of_file(path))


def record_of_bytes(*pieces: bytes) -> FileRecord:
    """Size and SHA-256 of a file that holds `pieces`, one after the other."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return FileRecord(size=sum(map(len, pieces)), sha256=digest.hexdigest())


def digest_of_files(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (file name, SHA-256) pairs, sorted; after each name a NUL, after each digest a line end."""
    lines = "".join(f"{name}\0{sha256}\n" for name, sha256 in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def check_file(path: Path, expected: FileRecord, *, content: bool) -> None:
    """Raise IntegrityError unless `path` has the recorded size and, with `content`, digest."""
    if not path.is_file():
        raise IntegrityError(
            path, found="no file", expected=counted(expected.size, "byte"), advice="Materialise it again."
        )
    size = path.stat().st_size
    if size != expected.size:
        raise IntegrityError(
            path,
            found=counted(size, "byte"),
            expected=f"{expected.size} as its manifest says",
            advice="Materialise it again.",
        )
    if content and (found := sha256_of_file(path)) != expected.sha256:
        raise IntegrityError(
            path,
            found=f"SHA-256 {found}",
            expected=f"{expected.sha256} as its manifest says",
            advice="Materialise it again.",
        )


def stamp_of(path: Path) -> str:
    """Size in bytes, both times in ns and inode of a file; empty if it changed less than SETTLED seconds ago."""
    status = path.stat()
    is_settled = time.time() - max(status.st_mtime, status.st_ctime) >= SETTLED
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}" if is_settled else ""


def is_unchanged(path: Path, stamp: str) -> bool:
    """Whether there is a file at `path` with this stamp; False for an empty stamp."""
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
