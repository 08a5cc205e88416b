"""Clean-up: what nobody needs any more is listed, and removed only where that is asked for.

What there is to find is in `maintenance/remains.py`. To remove something of a generation, all its locks
are held, and the registration of its drop, which a command and a training hold from their first step to the
last: a drop on which one works is left alone, and said to be. Between two steps a run of the UI holds no
lock, so whoever knows of runs hands over the drops on which one is at work. Nothing is waited for.

A folder is renamed to a temporary name first and then removed: a clean-up that is killed leaves
what the next one finds, and never half a generation. Of data that were kept long enough a record
stays (`storage/removed.py`).
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from virnucpro_assets.drops.stage_locks import claimed_drop, claimed_whole
from virnucpro_assets.errors import BusyError, InputError, IntegrityError, describe_os_error
from virnucpro_assets.files.atomic import TEMPORARY_MARK, sync_folder
from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.maintenance.remains import Finder, Remains, generation_folder, in_bytes
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.removed import Removed, note_removed
from virnucpro_assets.storage.tables_manifest import MANIFEST, TablesManifest

LOCK = "cleanup.lock"


@dataclass(frozen=True)
class Kept:
    """Something that was left alone, and why."""

    path: Path
    why: str


@dataclass
class CleanUp:
    """What a clean-up found, or with `deleted` removed, and what it left alone."""

    root: Path
    deleted: bool
    remains: list[Remains] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of all that was found."""
        return sum(remains.size for remains in self.remains)

    def lines(self) -> Iterator[str]:
        """The outcome as lines of a table for a terminal."""
        rows = [("size", "what", "where", "why")]
        for found in self.remains:
            is_inside = found.path.is_relative_to(self.root)
            where = str(found.path.relative_to(self.root) if is_inside else found.path)
            rows.append((in_bytes(found.size), found.kind, where, found.why))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows if self.remains else ():
            yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for kept in self.kept:
            yield f"left alone: {kept.path}: {kept.why}"
        what = f"{len(self.remains)} things, {in_bytes(self.size)}"
        yield f"{what} removed" if self.deleted else f"{what}; nothing was removed (--delete does it)"


def clean_up(
    settings: Settings,
    *,
    keys: Sequence[str] | None = None,
    delete: bool = False,
    at_work: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> CleanUp:
    """List, and with `delete` remove, what may be cleaned up of some drops, by default of all.

    `at_work` are drops that must be left alone, each with the reason. Raises InputError if there is no
    such drop, BusyError if another clean-up is deleting.
    """
    store = DropStore(settings.data_root)
    drops = store.keys()
    for key in keys or ():
        if key not in drops:
            raise InputError(
                f"drop {key}",
                found="no such drop",
                expected="a drop that `virnucpro drops` shows",
                advice="Check the name.",
            )
    outcome = CleanUp(settings.data_root, delete)
    moment = now or datetime.now(UTC)
    claim: AbstractContextManager[None] = nullcontext()
    if delete:
        claim = locked(settings.data_root / LOCK, "a clean-up", "refuse", lambda _: None)
    with claim:
        for key in keys or drops:
            _clean(key, settings, outcome, at_work or {}, moment)
        if not keys:
            for found in Finder(settings.data_root, "", settings, moment).beside_generations():
                _take(found, outcome)
            _clean_cache(settings, outcome, moment)
            _clean_registry(settings, outcome, moment)
    return outcome


def _clean(key: str, settings: Settings, outcome: CleanUp, at_work: Mapping[str, str], now: datetime) -> None:
    folder = settings.data_root / key
    if key in at_work:
        outcome.kept.append(Kept(folder, at_work[key]))
        return
    if folder.is_symlink():
        outcome.kept.append(Kept(folder, "a symbolic link"))
        return
    refusing = settings.model_copy(update={"when_busy": "refuse"})
    claim = claimed_drop(key, refusing, lambda _: None) if outcome.deleted else nullcontext()
    try:
        with claim:
            _clean_claimed(key, settings, outcome, now)
    except (BusyError, IntegrityError) as error:
        outcome.kept.append(Kept(folder, str(error)))


def _clean_claimed(key: str, settings: Settings, outcome: CleanUp, now: datetime) -> None:
    store, folder = DropStore(settings.data_root), settings.data_root / key
    current = store.current(key)[0].generation if store.was_listed(key) else ""
    finder = Finder(folder, current, settings, now)
    for found in finder.beside_generations():
        _take(found, outcome)
    for generation in finder.generations() if current else ():
        if outcome.deleted:
            with claimed_whole(generation, f"a clean-up of drop {key}"):
                for found in finder.of_generation(generation):
                    _take(found, outcome)
        else:
            for found in finder.of_generation(generation):
                _take(found, outcome)
    outcome.kept += [Kept(path, "a symbolic link") for path in finder.links]


def _clean_cache(settings: Settings, outcome: CleanUp, now: datetime) -> None:
    finder = Finder(settings.cache_folder, "", settings, now)
    for found in finder.of_cache():
        _take(found, outcome)
    outcome.kept += [Kept(path, "a symbolic link") for path in finder.links]


def _clean_registry(settings: Settings, outcome: CleanUp, now: datetime) -> None:
    # The registry itself is often a link to a larger disk.
    root = settings.models.resolve()
    finder = Finder(root, "", settings, now)
    for found in finder.of_registry():
        _take(found, outcome, root)
    outcome.kept += [Kept(path, "a symbolic link") for path in finder.links]


def _take(found: Remains, outcome: CleanUp, root: Path | None = None) -> None:
    """Add something to the outcome, having removed it from under `root` if that is asked for."""
    try:
        if outcome.deleted:
            if found.kind in ("embeddings", "data"):
                _note(found)
            for path in found.paths:
                remove_within(path, root or outcome.root)
    except OSError as error:
        outcome.kept.append(Kept(found.path, describe_os_error(error)))
    else:
        outcome.remains.append(found)


def _note(found: Remains) -> None:
    folder = generation_folder(found)
    tables = folder.calls / MANIFEST
    note_removed(
        folder,
        Removed(
            what="embeddings" if found.kind == "embeddings" else "data",
            at=datetime.now(UTC).replace(microsecond=0),
            size=found.size,
            why=found.why,
            counts=read_manifest(tables, TablesManifest).counts if tables.exists() else {},
        ),
    )


def remove_within(path: Path, root: Path) -> None:
    """Remove a file or a folder under `root`; IntegrityError if it is a link, or a link leads out of `root`."""
    if path.is_symlink() or not path.parent.resolve().is_relative_to(root.resolve()):
        raise IntegrityError(
            path, found=f"a way out of {root}", expected="a place within it", advice="Look who made the link."
        )
    if not path.is_dir():
        path.unlink()
    else:
        doomed = path
        if TEMPORARY_MARK not in path.name:
            doomed = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}")
            path.rename(doomed)
        shutil.rmtree(doomed)
    sync_folder(path.parent)
