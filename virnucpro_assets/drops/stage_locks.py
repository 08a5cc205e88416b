"""Locks: a run writes a stage of a drop only while it holds the lock of that stage.

Every generation has a lock beside each of its stages: `index.lock`, `merged.lock`, `predictions.lock`, `calls.lock`,
`report.lock`, `check_report.lock`, `check_sample.lock`, and `esm2/rank-00-of-04.lock` for each shard. So two runs never
write the same files at once, and different ranks may be computed side by side, on different machines. Readers take no
lock: files appear whole, and their digests show what they belong to.

The registration of a drop (which files and options it is made of) has a lock too. A command that works on a drop from
its files to its results holds it from the first to the last step, so nobody registers other files under the same name
meanwhile (`registration_lock`).

These rules prevent that two runs wait for each other:

0. The registration of a drop is locked before all else, those of several drops by ascending key. A run that holds a
   stage does not wait for a registration.
1. Of the stages other than the shards, one is held at a time, and while it is held, the run waits for no other stage.
   (The quarantine has its own lock, held only while one file is written.)
2. Shards are locked all together before anything is computed: those of DNABERT-S, then those of ESM-2, each by
   ascending rank. They are released before another stage is locked.
3. Devices come last, after shards and after `check_sample`. A run that must wait for one of these while its device
   processes run ends them first (`before_waiting`); its next work starts the processes again.

A run that gets a lock removes the unfinished files of that stage which a killed run left, and nothing else. Nobody
can still write them: the kernel ends the device processes with the process that started them and held the lock. A
device process inside a system call may end a little later. It can only finish that call: create an empty file under
a temporary name, which the next clean-up removes, or rename a whole part, already synced, to its name, which is
verified when it is read.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError, counted
from virnucpro_assets.files.atomic import TEMPORARY_MARK
from virnucpro_assets.files.locks import locked
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.check_sample import FILE as CHECK_SAMPLE
from virnucpro_assets.storage.drops import check_key
from virnucpro_assets.storage.shards import ShardKey
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

QUARANTINE_LOCK = "quarantine.lock"
REGISTRATIONS = "_registrations"
"""The folder of the registrations' locks under the data root; no drop can have this name."""

Stage = Literal["index", "check_sample", "merged", "predictions", "calls", "report", "check_report"]

WRITTEN: dict[Stage, tuple[str, ...]] = {
    "index": ("index", "index/*", "stages/index.toml"),
    "check_sample": (CHECK_SAMPLE, "stages/check_sample.toml"),
    "merged": ("merged.h5", "merged.toml", "stages/merge.toml"),
    "predictions": ("predictions/*", "stages/predictions.toml"),
    "calls": ("calls/*", "stages/calls.toml"),
    "report": ("report.html",),
    "check_report": ("check_report.html", "check_report.json"),
}
"""The files written under the lock of each stage, relative to the generation."""


@contextmanager
def registration_lock(key: str, settings: Settings, report: Reporter) -> Iterator[None]:
    """Hold the lock on the registration of a drop for the block.

    If another run holds it, waits or raises BusyError, by the setting `when_busy`. Raises InputError if no drop can
    have this key, or if it is the name of a folder of the platform.
    """
    settings.check_not_own(check_key(key))
    lock = settings.data_root / REGISTRATIONS / f"{key}.lock"
    with locked(lock, f"registration of drop {key}", settings.when_busy, report):
        yield


def registration_lock_now(key: str, settings: Settings) -> AbstractContextManager[None]:
    """As `registration_lock`, but raises BusyError if another run holds it, whatever the settings say."""
    refusing = settings.model_copy(update={"when_busy": "refuse"})
    return registration_lock(key, refusing, lambda _: None)


@contextmanager
def stage_lock(
    work: DropWork, stage: Stage, before_waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a stage for the block, after removing the unfinished files of a killed run.

    If another run holds it: calls `before_waiting` and waits, or raises BusyError, by the setting `when_busy`.
    """
    owner, folder = f"{stage} of drop {work.drop.key}", work.folder.path
    with locked(folder / f"{stage}.lock", owner, work.settings.when_busy, _waiting(work, before_waiting)):
        remove_unfinished(work, *WRITTEN[stage])
        yield


@contextmanager
def shard_locks(
    work: DropWork, wanted: Mapping[EncoderKind, Sequence[int]], before_waiting: Callable[[], None]
) -> Iterator[dict[ShardKey, BusyError]]:
    """Hold the locks of the `wanted` ranks of each encoder for the block; unfinished files of a killed run are removed.

    If another run holds one: calls `before_waiting` and waits, or leaves it out, by the setting `when_busy`. Yields
    the shards that are not held, each with the error that names the holder.
    """
    busy: dict[ShardKey, BusyError] = {}
    shards = [(kind, rank) for kind in ENCODER_KINDS for rank in sorted(wanted.get(kind, ()))]
    with ExitStack() as held:
        for kind, rank in shards:
            folder = work.folder.shard(kind, rank, work.index.manifest.ranks)
            lock, owner = (
                folder.with_name(f"{folder.name}.lock"),
                f"{kind} rank {rank} of drop {work.drop.key}",
            )
            try:
                held.enter_context(
                    locked(lock, owner, work.settings.when_busy, _waiting(work, before_waiting))
                )
            except BusyError as error:
                busy[kind, rank] = error
            else:
                remove_unfinished(work, f"{folder.relative_to(work.folder.path)}/*")
        kinds = Counter(kind for kind, rank in shards if (kind, rank) not in busy)
        for kind in (kind for kind, count in kinds.items() if count == work.index.manifest.ranks):
            # Written under the lock of any rank, so nobody writes it while all are held.
            remove_unfinished(work, f"stages/{kind}.toml")
        yield busy


def _waiting(work: DropWork, before_waiting: Callable[[], None] | None) -> Reporter:
    """The callback for a lock that another run holds: calls `before_waiting`, then reports the line."""

    def about_to_wait(line: str) -> None:
        if before_waiting:
            before_waiting()
        work.report(line)

    return about_to_wait


@contextmanager
def generation_locks(folder: Path, owner: str) -> Iterator[None]:
    """Hold the locks of all stages of a generation for the block, or raise BusyError, which names the holder of one.

    It never waits, so the order of calls does not matter.
    """
    locks = {folder / f"{stage}.lock" for stage in WRITTEN}
    for encoder in (folder / kind for kind in ENCODER_KINDS):
        if not encoder.is_symlink():
            # A computed shard has a folder and a lock, one that waits for its first part only a lock.
            names = {path.name.split(".")[0] for path in encoder.glob("rank-*-of-*")}
            locks |= {encoder / f"{name}.lock" for name in names}
    if (folder / "quarantine").is_dir():
        locks.add(folder / "quarantine" / QUARANTINE_LOCK)
    with ExitStack() as held:
        for lock in sorted(locks):
            held.enter_context(locked(lock, owner, "refuse", lambda _: None))
        yield


def remove_unfinished(work: DropWork, *written: str) -> None:
    """Remove the temporary files and folders that belong to `written` (patterns), and report their number."""
    found = sorted(
        path for pattern in written for path in work.folder.path.glob(f"{pattern}{TEMPORARY_MARK}*")
    )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if found:
        work.report(f"removed {counted(len(found), 'unfinished item')} of an ended run, {found[0]} first")
