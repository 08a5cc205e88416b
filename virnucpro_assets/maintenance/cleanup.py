"""Clean-up: lists files that are not needed any more, and removes them with `delete`.

`candidates.py` finds the files. To remove files of a generation, the clean-up holds all its locks and the lock on the
registration of its drop. Commands and trainings hold that one from their first step to the last, so their drops are
skipped and listed. A run of the UI holds no lock between two steps, so the caller passes the drops with running runs.
The clean-up never waits.

A folder is renamed to a temporary name before it is removed: a killed clean-up leaves files that the next one finds,
and never half a generation. A record of removed data stays (`storage/drop_folders.py`).
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from virnucpro_assets.drops.disk_space import readable_size
from virnucpro_assets.drops.stage_locks import generation_locks, registration_lock_now
from virnucpro_assets.drops.work import no_such_drop
from virnucpro_assets.errors import BusyError, IntegrityError, counted, describe_os_error
from virnucpro_assets.files.atomic import TEMPORARY_MARK, sync_folder
from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.intake.standard_input import FOLDER as STANDARD_INPUT
from virnucpro_assets.maintenance.candidates import CleanupCandidate, Finder
from virnucpro_assets.reports.pages import table
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder, Removed, note_removed
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.tables import MANIFEST, TablesManifest

LOCK = "cleanup.lock"


@dataclass(frozen=True)
class Skipped:
    """A path that was not removed, and why."""

    path: Path
    why: str


@dataclass
class CleanUp:
    """The candidates that a clean-up found, or with `deleted` removed, and the paths that it skipped."""

    root: Path
    deleted: bool
    candidates: list[CleanupCandidate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of all candidates."""
        return sum(found.size for found in self.candidates)

    def lines(self) -> Iterator[str]:
        """The result as lines of a table for a terminal."""
        rows = []
        for found in self.candidates:
            is_inside = found.path.is_relative_to(self.root)
            where = str(found.path.relative_to(self.root) if is_inside else found.path)
            rows.append((readable_size(found.size), found.kind, where, found.why))
        if rows:
            yield from table(("size", "what", "where", "why"), rows)
        for each in self.skipped:
            yield f"skipped: {each.path}: {each.why}"
        what = f"{counted(len(self.candidates), 'thing')}, {readable_size(self.size)}"
        yield f"{what} removed" if self.deleted else f"{what}; nothing was removed (--delete does it)"


def clean_up(
    settings: Settings,
    *,
    keys: Sequence[str] | None = None,
    delete: bool = False,
    at_work: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> CleanUp:
    """List, and with `delete` remove, the files of some drops that are not needed any more; by default of all drops.

    `at_work` are drops that must be skipped, each with the reason. Raises InputError if there is no such drop,
    BusyError if another clean-up is deleting.
    """
    store = DropStore(settings.data_root)
    drops = store.keys()
    for key in keys or ():
        if key not in drops:
            raise no_such_drop(key, drops)
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
            _clean_standard_input(settings, outcome, moment)
            _clean_cache(settings, outcome, moment)
            _clean_registry(settings, outcome, moment)
    return outcome


def _clean(key: str, settings: Settings, outcome: CleanUp, at_work: Mapping[str, str], now: datetime) -> None:
    folder = settings.data_root / key
    if key in at_work:
        outcome.skipped.append(Skipped(folder, at_work[key]))
        return
    if folder.is_symlink():
        outcome.skipped.append(Skipped(folder, "a symbolic link"))
        return
    claim = registration_lock_now(key, settings) if outcome.deleted else nullcontext()
    try:
        with claim:
            _clean_locked(key, settings, outcome, now)
    except (BusyError, IntegrityError) as error:
        outcome.skipped.append(Skipped(folder, str(error)))


def _clean_locked(key: str, settings: Settings, outcome: CleanUp, now: datetime) -> None:
    store, folder = DropStore(settings.data_root), settings.data_root / key
    current = store.current(key)[0].generation if store.was_listed(key) else ""
    finder = Finder(folder, current, settings, now)
    for found in finder.beside_generations():
        _take(found, outcome)
    for generation in finder.generations() if current else ():
        if outcome.deleted:
            with generation_locks(generation, f"a clean-up of drop {key}"):
                for found in finder.of_generation(generation):
                    _take(found, outcome)
        else:
            for found in finder.of_generation(generation):
                _take(found, outcome)
    outcome.skipped += [Skipped(path, "a symbolic link") for path in finder.links]


def _clean_standard_input(settings: Settings, outcome: CleanUp, now: datetime) -> None:
    store, folder = DropStore(settings.data_root), settings.data_root / STANDARD_INPUT
    try:
        drops = store.keys()
        sources = [source for key in drops if (source := store.source(key))]
    except IntegrityError as error:
        # The drop of the damaged record may be made of any of them.
        outcome.skipped.append(Skipped(folder, str(error)))
        return
    needed = {file.path for source in sources for file in source.files}
    for found in Finder(folder, "", settings, now).of_standard_input(needed):
        _take(found, outcome)


def _clean_cache(settings: Settings, outcome: CleanUp, now: datetime) -> None:
    finder = Finder(settings.cache_folder, "", settings, now)
    for found in finder.of_cache():
        _take(found, outcome)
    outcome.skipped += [Skipped(path, "a symbolic link") for path in finder.links]


def _clean_registry(settings: Settings, outcome: CleanUp, now: datetime) -> None:
    # The registry itself is often a link to a larger disk.
    root = settings.models.resolve()
    finder = Finder(root, "", settings, now)
    for found in finder.of_registry():
        _take(found, outcome, root)
    outcome.skipped += [Skipped(path, "a symbolic link") for path in finder.links]


def _take(found: CleanupCandidate, outcome: CleanUp, root: Path | None = None) -> None:
    """Add a candidate to the outcome; with `deleted` remove it from `root` first."""
    try:
        if outcome.deleted:
            if found.kind in ("embeddings", "data"):
                _note(found)
            for path in found.paths:
                remove_within(path, root or outcome.root)
    except OSError as error:
        outcome.skipped.append(Skipped(found.path, describe_os_error(error)))
    else:
        outcome.candidates.append(found)


def _note(found: CleanupCandidate) -> None:
    assert found.generation is not None
    folder = DropFolder(found.generation)
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
            path,
            found=f"a symbolic link out of {root}",
            expected="a path within it",
            advice="Check who made the link.",
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
