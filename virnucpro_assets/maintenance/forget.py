"""Forgetting a drop: all its files in the data root are removed, whatever state it is in.

`virnucpro forget` does it on request. A command that registers files does it if they never became an index: a mistyped
file would otherwise stay as a drop that always fails and occupies its name. Files of reads are not touched, because
they belong to the user.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.drops.stage_locks import generation_locks
from virnucpro_assets.errors import BusyError, IntegrityError
from virnucpro_assets.maintenance.candidates import size_of
from virnucpro_assets.maintenance.cleanup import remove_within
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import GENERATION, DropStore


@dataclass(frozen=True)
class DropData:
    """The data of a drop: its folder, the numbers of generations and bytes, and its files of reads, if known."""

    folder: Path
    generations: int
    size: int
    reads: tuple[Path, ...]


def data_of(key: str, settings: Settings) -> DropData | None:
    """The data of a drop, or None."""
    folder = settings.data_root / key
    if not folder.is_dir():
        return None
    try:
        source = DropStore(settings.data_root).source(key)
    except IntegrityError:
        # A drop with a damaged record can be forgotten too.
        source = None
    reads = tuple(file.path for file in source.files) if source else ()
    return DropData(folder, len(_generations(folder)), size_of(folder), reads)


def remove_data(key: str, settings: Settings) -> None:
    """Remove the folder of a drop; call it with `registration_lock` held.

    Raises BusyError, and removes nothing, if a process works on a generation; IntegrityError if the folder is a
    symbolic link.
    """
    folder = settings.data_root / key
    with ExitStack() as held:
        for generation in _generations(folder):
            held.enter_context(generation_locks(generation, f"the removal of drop {key}"))
        remove_within(folder, settings.data_root)


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
                    if (settings.data_root / key).is_dir():
                        remove_data(key, settings)
                    forgotten()


def _generations(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    return [
        path for path in found if GENERATION.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
