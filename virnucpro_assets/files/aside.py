"""Setting aside: what is wrong is kept under another name, never removed or written over."""

import os
from pathlib import Path

from virnucpro_assets.files.atomic import sync_folder


def set_aside(path: Path, mark: str) -> Path:
    """Rename a file or folder to `NAME.MARK-N`, N the first number that is free; returns the new name."""
    reserve = Path.mkdir if path.is_dir() else _make_new_file
    number = 1
    while True:
        target = path.with_name(f"{path.name}.{mark}-{number}")
        try:
            # Renaming writes over what is there: the name is taken first, which only one can do.
            reserve(target)
        except FileExistsError:
            number += 1
            continue
        path.rename(target)
        sync_folder(path.parent)
        return target


def _make_new_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
