"""Claims: a run writes a place of a drop only while it holds the lock of that place.

Every generation has a lock beside each of its places: `index.lock`, `merged.lock`,
`predictions.lock`, `calls.lock`, `report.lock`, `check_report.lock`, `check_sample.lock`, and
`esm2/rank-00-of-04.lock` for each shard. So
two runs never write the same thing at once, and different ranks may be computed side by side, on
different machines. Whoever only reads takes no lock: files appear whole, and digests say what
they belong to.

Before all that stands the registration of a drop: which files and options make it up. Whoever works on a drop
from its files to its results, as a command does, holds it from the first to the last step, so that nobody
registers other files under the same name meanwhile (`claimed_drop`).

No two runs wait for each other, whatever they do in whatever order, because of these rules:

0. The registration of a drop is taken before all others, those of several drops by ascending key, and nobody
   who holds a place waits for one.
1. Of the places but the shards one is held at a time, and no shard or other place is waited for meanwhile. (The
   quarantine has a lock of its own, held for a moment while one file is written.)
2. Shards are taken all together before anything is computed: those of DNABERT-S, then those of ESM-2, each by
   ascending rank. They are given back before another place is taken.
3. Devices come last, after shards and after the place `check_sample`. A run that must wait for one of these while its
   processes own devices gives the devices back first (`before_waiting`): its next work starts the processes again.

What a killed run left half-made in a place is removed by the next one that holds its lock, and
nothing else is. Nobody can still be writing it: the kernel ends the device processes with the
process that started them and held the lock. One that stands in a call of the system at that
moment may be ended a little after the lock is free. All that it can still do is to finish that
call: to make an empty file under a temporary name, which stays until the next clean-up, or to
rename a whole part, already on the disk, to its name, which whoever finds it verifies.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError
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
"""The folder of these locks under the data root: no drop can have this name."""

Place = Literal["index", "check_sample", "merged", "predictions", "calls", "report", "check_report"]

WRITTEN: dict[Place, tuple[str, ...]] = {
    "index": ("index", "index/*", "stages/index.toml"),
    "check_sample": (CHECK_SAMPLE, "stages/check_sample.toml"),
    "merged": ("merged.h5", "merged.toml", "stages/merge.toml"),
    "predictions": ("predictions/*", "stages/predictions.toml"),
    "calls": ("calls/*", "stages/calls.toml"),
    "report": ("report.html",),
    "check_report": ("check_report.html", "check_report.json"),
}
"""What is written under the lock of each place, relative to the generation."""


@contextmanager
def claimed_drop(key: str, settings: Settings, report: Reporter) -> Iterator[None]:
    """Hold the registration of a drop for the block.

    While another run holds it, waits or raises BusyError, as the settings say. Raises InputError if no drop
    can have this key, or if it is the name of a folder of the platform.
    """
    settings.check_not_own(check_key(key))
    lock = settings.data_root / REGISTRATIONS / f"{key}.lock"
    with locked(lock, f"registration of drop {key}", settings.when_busy, report):
        yield


@contextmanager
def claimed(work: DropWork, place: Place, before_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a place of the generation for the block, rid of what a killed run left half-made there.

    While another run holds it: waits, having called `before_waiting`, or raises BusyError, as the settings say.
    """
    owner, folder = f"{place} of drop {work.drop.key}", work.folder.path
    with locked(folder / f"{place}.lock", owner, work.settings.when_busy, _waiting(work, before_waiting)):
        remove_unfinished(work, *WRITTEN[place])
        yield


@contextmanager
def claimed_shards(
    work: DropWork, wanted: Mapping[EncoderKind, Sequence[int]], before_waiting: Callable[[], None]
) -> Iterator[dict[ShardKey, BusyError]]:
    """Hold the `wanted` ranks of each encoder for the block, rid of what a killed run left half-made in them.

    While another run holds one: waits, having called `before_waiting`, or goes on without it, as
    the settings say. Gives the shards that are not held, each with the error that names the holder.
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
    """What hears that a lock must be waited for: it gives back what `before_waiting` does, then reports the line."""

    def about_to_wait(line: str) -> None:
        if before_waiting:
            before_waiting()
        work.report(line)

    return about_to_wait


@contextmanager
def claimed_whole(folder: Path, owner: str) -> Iterator[None]:
    """Hold every place of a generation for the block, or raise BusyError, which names who holds one.

    It never waits, so it may be called in whatever order.
    """
    locks = {folder / f"{place}.lock" for place in WRITTEN}
    for encoder in (folder / kind for kind in ENCODER_KINDS):
        if not encoder.is_symlink():
            # A shard that was computed once has both, one that waits for its first part a lock only.
            names = {path.name.split(".")[0] for path in encoder.glob("rank-*-of-*")}
            locks |= {encoder / f"{name}.lock" for name in names}
    if (folder / "quarantine").is_dir():
        locks.add(folder / "quarantine" / QUARANTINE_LOCK)
    with ExitStack() as held:
        for lock in sorted(locks):
            held.enter_context(locked(lock, owner, "refuse", lambda _: None))
        yield


def remove_unfinished(work: DropWork, *written: str) -> None:
    """Remove the temporary files and folders of what matches `written`, and say how many there were."""
    found = sorted(
        path for pattern in written for path in work.folder.path.glob(f"{pattern}{TEMPORARY_MARK}*")
    )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if found:
        work.report(f"removed {len(found)} unfinished files and folders of an ended run, {found[0]} first")
