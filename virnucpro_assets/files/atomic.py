"""Atomic writing, by which every file of this project is made, and renaming of wrong files.

The content goes to a temporary file beside the target, is flushed and synced to the disk, and is renamed over the
target; then the folder is synced. So a reader sees the old file or the whole new one, after any crash.
"""

import os
import secrets
import shutil
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
    """Give a temporary path to a library that opens the file by itself.

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
    """Set `path` as the file of an OSError of the block that has no file or `temporary`, with the text of the system.

    The error of a write to a full disk has no path, and HDF5's text has addresses and lengths instead of the cause.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)
        if error.errno:
            error.strerror = os.strerror(error.errno)
        raise


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder in `parent`, which is removed when the block ends, unless it was renamed.

    `name` is the start of its name, so that a clean-up knows what a killed process left.
    """
    folder = parent / f"{name}{TEMPORARY_MARK}{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` in one piece."""
    with atomic_file(target) as stream:
        stream.write(content)


def write_text(target: Path, content: str) -> None:
    """Write `content` to `target` as UTF-8 in one piece."""
    write_bytes(target, content.encode())


def sync_file(path: Path) -> None:
    """Sync the content of `path` to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, mark: str) -> Path:
    """Rename a wrong file or folder to `NAME.MARK-N`, with the first free number N; returns the new path.

    Nothing is removed or overwritten.
    """
    reserve = Path.mkdir if path.is_dir() else _make_new_file
    number = 1
    while True:
        target = path.with_name(f"{path.name}.{mark}-{number}")
        try:
            # Renaming overwrites an existing target. Creating the target first fails for all processes but one.
            reserve(target)
        except FileExistsError:
            number += 1
            continue
        path.rename(target)
        sync_folder(path.parent)
        return target


def _make_new_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
