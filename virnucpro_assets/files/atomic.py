"""The one way a file of this project comes into being.

The content goes to a temporary file beside the target, is flushed and synced to the disk,
and is renamed over the target; then the folder is synced. So a reader sees the old file or
the whole new one, after any crash.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY_MARK = ".partial-"


@contextmanager
def atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `target` when the block ends without an error.

    On an error the temporary file is removed and `target` stays as it was. The folder of
    `target` is made if it is missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        yield stream


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to a library that wants to open the file by itself.

    An OSError of the block that names no file, or the temporary one, names `target` instead.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with errors_naming(target, temporary):
            yield temporary
            sync_file(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def errors_naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError of the block that names no file, or `temporary`, name `path`, in the words of the system.

    A write to a full disk knows only its descriptor, and people only the names of results. HDF5
    says addresses and lengths instead of what is wrong.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)
        if error.errno:
            error.strerror = os.strerror(error.errno)
        raise


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` in one piece."""
    with atomic_file(target) as stream:
        stream.write(content)


def write_text(target: Path, content: str) -> None:
    """Write `content` to `target` as UTF-8 in one piece."""
    write_bytes(target, content.encode())


def sync_file(path: Path) -> None:
    """Ask the disk to keep the content of `path` before going on."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Ask the disk to keep the names in `folder` before going on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
