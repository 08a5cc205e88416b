"""Forgetting a drop: all that was made of it in the data root is removed, whatever state it is in.

`virnucpro forget` does it on request. A command that registers files does it if they never became an index: a mistyped
file would otherwise stay as a drop that always fails and occupies its name.

Files of others are not touched, and neither is the folder of the drop if they lie in it: the data root is a plain
folder, and people put reads and results there.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.drops.stage_locks import generation_locks
from virnucpro_assets.errors import BusyError, IntegrityError
from virnucpro_assets.files.atomic import TEMPORARY_MARK
from virnucpro_assets.maintenance.candidates import size_of
from virnucpro_assets.maintenance.cleanup import remove_within
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import GENERATION, DropStore

_RECORD = re.compile(rf"(source|current)\.toml(\.superseded-[0-9]+|{re.escape(TEMPORARY_MARK)}.+)?")
_UNFINISHED = re.compile(rf"{GENERATION.pattern}{re.escape(TEMPORARY_MARK)}.+")


@dataclass(frozen=True)
class DropData:
    """The data of a drop: its folder, the numbers of generations and bytes, and its files of reads, if known.

    `foreign` are the files and folders in its folder that are none of its data.
    """

    folder: Path
    generations: int
    size: int
    reads: tuple[Path, ...]
    foreign: tuple[Path, ...]


def data_of(key: str, settings: Settings) -> DropData | None:
    """The data of a drop, or None."""
    folder = settings.data_root / key
    own, foreign = _content(folder)
    if not own:
        return None
    try:
        source = DropStore(settings.data_root).source(key)
    except IntegrityError:
        # A drop with a damaged record can be forgotten too.
        source = None
    reads = tuple(file.path for file in source.files) if source else ()
    return DropData(folder, len(_generations(folder)), sum(map(size_of, own)), reads, tuple(foreign))


def remove_data(key: str, settings: Settings) -> None:
    """Remove the data of a drop, and its folder if nothing else is in it; call it with `registration_lock` held.

    Raises BusyError, and removes nothing, if a process works on a generation; IntegrityError if the folder is a
    symbolic link.
    """
    folder = settings.data_root / key
    own, foreign = _content(folder)
    with ExitStack() as held:
        for generation in _generations(folder):
            held.enter_context(generation_locks(generation, f"the removal of drop {key}"))
        # The folder as a whole goes in one step. Beside files of others the records go first: then it is no drop.
        for path in own if foreign else [folder]:
            remove_within(path, settings.data_root)


def _content(folder: Path) -> tuple[list[Path], list[Path]]:
    """The data of a drop in its folder, the records first, and what else is there."""
    found = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    own = [path for path in found if _is_own(path)]
    return sorted(own, key=lambda path: path.is_dir()), [path for path in found if path not in own]


def _is_own(path: Path) -> bool:
    is_folder = path.is_dir() and not path.is_symlink()
    pattern = f"{GENERATION.pattern}|{_UNFINISHED.pattern}" if is_folder else _RECORD.pattern
    return re.fullmatch(pattern, path.name) is not None


@contextmanager
def kept_if_indexed(
    key: str, settings: Settings, forgotten: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Undo the registration of a drop in the block if the block ends before the files became an index.

    A drop that had an index or a delivery before gets its former files and generation back; any other drop is removed,
    and `forgotten` is called. Records of another version are not touched. Call it with `registration_lock` held.
    """
    store = DropStore(settings.data_root)
    try:
        before = store.source(key)
        was_indexed = store.is_indexed(key)
        digest = store.current(key)[0].digest if was_indexed else ""
    except IntegrityError:
        yield
        return
    try:
        yield
    finally:
        with suppress(BusyError, IntegrityError, OSError):
            if not store.is_indexed(key):
                if before and (digest or before.delivery or before.follows_delivery):
                    store.restore(key, before, digest)
                elif not any(DropFolder(path).is_indexed for path in _generations(settings.data_root / key)):
                    if data_of(key, settings):
                        remove_data(key, settings)
                    forgotten()


def _generations(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    return [
        path for path in found if GENERATION.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
