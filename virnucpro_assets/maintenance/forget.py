"""To forget a drop: all that is kept of it in the data root is removed, whatever state it is in.

`virnucpro forget` does that when somebody asks for it. A command that registers files does it by itself if they never
became an index: a mistyped file would else stay as a drop that fails for ever and holds its name. Files of reads
are not touched: they belong to those who gave them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.drops.stage_locks import claimed_whole
from virnucpro_assets.errors import BusyError, IntegrityError
from virnucpro_assets.maintenance.cleanup import remove_within
from virnucpro_assets.maintenance.remains import GENERATION, size_of
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropFolder, DropStore


@dataclass(frozen=True)
class DropData:
    """What is kept of a drop: its folder, how many generations and bytes, and the files of its reads, if known."""

    folder: Path
    generations: int
    size: int
    reads: tuple[Path, ...]


def data_of(key: str, settings: Settings) -> DropData | None:
    """What is kept of a drop; None if nothing is."""
    folder = settings.data_root / key
    if not folder.is_dir():
        return None
    try:
        source = DropStore(settings.data_root).source(key)
    except IntegrityError:
        # A damaged record is a reason to forget a drop, not one against it.
        source = None
    reads = tuple(file.path for file in source.files) if source else ()
    return DropData(folder, len(_generations(folder)), size_of(folder), reads)


def remove_data(key: str, settings: Settings) -> None:
    """Remove the folder of a drop; call it while you hold its registration (`claimed_drop`).

    Raises BusyError, and removes nothing, if somebody works on a generation; IntegrityError if the folder is a
    symbolic link.
    """
    folder = settings.data_root / key
    with ExitStack() as held:
        for generation in _generations(folder):
            held.enter_context(claimed_whole(generation, f"the removal of drop {key}"))
        remove_within(folder, settings.data_root)


@contextmanager
def kept_if_indexed(
    key: str, settings: Settings, forgotten: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Take back what the block registers of a drop if it ends before the files became an index.

    A drop that had an index or a delivery before gets back its files and generation; else all of it is removed, and
    `forgotten` is called. What another version wrote is left alone. Call it while you hold the registration.
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
