"""The second stage of a drop, the only one that needs devices: the embeddings of its ranks by both encoders.

Both encoders share one lease and one queue, so the device processes start once, each loads each encoder once, and
no device waits for the last part of the first encoder.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from virnucpro_assets.calling.fit import check_fit
from virnucpro_assets.checks.gate import require_passed
from virnucpro_assets.checks.quarantine import record_quarantined
from virnucpro_assets.drops.disk_space import (
    cache_bytes,
    check_data_root,
    embedding_bytes,
    require_disk_space,
    table_bytes,
)
from virnucpro_assets.drops.recipes import check_ranks, make_recipe
from virnucpro_assets.drops.stage_locks import shard_locks
from virnucpro_assets.drops.stage_records import write_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, Lease, PoolOptions
from virnucpro_assets.inference.shard_runs import EmbeddingError, embed_shards
from virnucpro_assets.pipeline.check_sample import embed_check_sample
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.provenance import QuarantinedRow
from virnucpro_assets.storage.shards import ShardManifest, set_aside_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

QUARANTINED_SHOWN = 5
FLOPS_OF_A_PROCESS = 5e11
"""Work for which the start of another process on CPU slots, some seconds of a processor, is worth it."""


def open_pool(settings: Settings) -> DevicePool:
    """The pool of the devices that the settings name; no process is started yet.

    Raises InputError if a device is named that is not there, DeviceError if there is a GPU that cannot be
    used.
    """
    devices = find_devices(settings.devices, visible=settings.visible_gpus)
    return DevicePool(
        devices,
        PoolOptions(
            locks=settings.device_locks,
            when_busy=settings.when_busy,
            stall_seconds=settings.stall_seconds,
            max_restarts=settings.max_device_restarts,
            flops_of_a_process=FLOPS_OF_A_PROCESS if all(one.kind == "cpu" for one in devices) else 0.0,
        ),
    )


def embed_drop(
    work: DropWork, wanted: Mapping[EncoderKind, Sequence[int]], lease: Lease, *, replace: bool = False
) -> Iterator[ShardManifest]:
    """Compute the embeddings of the `wanted` ranks of each encoder, yielding each shard as it is finished.

    DNABERT-S comes first, and a device goes on with ESM-2 when no part of DNABERT-S is left for it. The sample of the
    precision checks is computed at the end, as soon as no shard of the drop is missing (see `check_sample.py`).

    With `replace`, what is stored under another recipe is set aside instead of refused. Raises
    IntegrityError if the classifier in use cannot read such embeddings, InsufficientDiskSpaceError if the disk has
    too little room, and EmbeddingError at the end if some shards could not be finished, also because
    another run holds them and the settings say refuse. Raises CheckError if a check of the index holds it back.
    """
    check_ranks(work.settings, work.index.manifest)
    require_passed(work, {"sequence_index": work.index.manifest.digest})
    check_fit(work)
    with shard_locks(work, wanted, before_waiting=lease.release_devices) as busy:
        free = {
            kind: [rank for rank in wanted[kind] if (kind, rank) not in busy]
            for kind in ENCODER_KINDS
            if kind in wanted
        }
        refused = {shard: str(error) for shard, error in busy.items()}
        try:
            yield from _embed_locked(work, free, lease, replace=replace)
        except EmbeddingError as error:
            raise EmbeddingError(error.failures | refused, error.quarantined, error.exit_code) from error
        if refused:
            raise EmbeddingError(refused, {}, BusyError.exit_code)
    embed_check_sample(work, lease)


def _embed_locked(
    work: DropWork, wanted: Mapping[EncoderKind, Sequence[int]], lease: Lease, *, replace: bool
) -> Iterator[ShardManifest]:
    jobs = [_job(work, kind, ranks) for kind, ranks in wanted.items() if ranks]
    if replace:
        for job in jobs:
            for folder in job.folders.values():
                set_aside_shard(folder, job.recipe)
    require_space_for_embeddings(work, wanted)
    stages = {job.encoder.kind: _Stage(work, job, lease) for job in jobs}
    started = time.monotonic()
    try:
        for shard in embed_shards(jobs, lease, work.report):
            kind = shard.recipe.encoder
            _note_quarantined(work, kind, shard.rank, shard.incidents.quarantined)
            started = stages[kind].add(shard, started)
            yield shard
    except EmbeddingError as error:
        for kind, rank in error.failures:
            _note_quarantined(work, kind, rank, error.quarantined.get((kind, rank), []))
        raise


def _job(work: DropWork, kind: EncoderKind, ranks: Sequence[int]) -> ShardJob:
    encoder, index = work.encoders[kind], work.index.manifest
    return ShardJob(
        index=work.index,
        encoder=encoder,
        recipe=make_recipe(work.settings, index, encoder),
        folders={rank: work.folder.shard(kind, rank, index.ranks) for rank in ranks},
        quarantine=work.settings.quarantine,
        peak_flops=work.settings.peak_tflops and work.settings.peak_tflops * 1e12,
        cache=work.settings.embedding_cache,
    )


@dataclass
class _Stage:
    """The record of an encoder's stage, written when its last shard is finished."""

    work: DropWork
    job: ShardJob
    lease: Lease
    shards: list[ShardManifest] = field(default_factory=list)

    def add(self, shard: ShardManifest, started: float) -> float:
        """Note a finished shard; returns when the stage of the next encoder has started.

        The encoders overlap for as long as some devices are done with the first. That time counts for the first.
        """
        self.shards.append(shard)
        if len(self.shards) < len(self.job.folders):
            return started
        now, rows = time.monotonic(), sum(shard.rows for shard in self.shards)
        figures: dict[str, int | float | str] = {
            "ranks": ", ".join(map(str, self.job.folders)),
            "tokens": sum(shard.counts.tokens for shard in self.shards),
            "devices": ", ".join(map(str, self.lease.devices)),
        }
        if self.job.cache is not None:
            cached = sum(shard.cached_rows for shard in self.shards)
            figures |= {"cached_rows": cached, "cached_share": round(cached / rows, 4) if rows else 0.0}
        write_stage(self.work.folder.stages, self.job.encoder.kind, now - started, figures)
        return now


def _note_quarantined(work: DropWork, kind: EncoderKind, rank: int, rows: Sequence[QuarantinedRow]) -> None:
    lines = record_quarantined(work, kind, rank, rows)
    for line in lines[:QUARANTINED_SHOWN]:
        work.report(line)
    if len(lines) > QUARANTINED_SHOWN:
        work.report(f"{kind} rank {rank}: {len(lines)} in all, see {work.folder.quarantine}")


def require_space_for_embeddings(work: DropWork, wanted: Mapping[EncoderKind, Sequence[int]]) -> None:
    """Raise InsufficientDiskSpaceError or InputError unless the missing parts of these ranks and the tables fit."""
    needed = sum(embedding_bytes(work, kind, ranks) for kind, ranks in wanted.items())
    if needed:
        check_data_root(work.folder.path)
        kinds = " and ".join(kind for kind, ranks in wanted.items() if ranks)
        what = f"the embeddings of {kinds} and the tables of drop {work.drop.key}"
        needed += cache_bytes(work, needed)
        require_disk_space(work.folder.path, needed + table_bytes(work), what)
