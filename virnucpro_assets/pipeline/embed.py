"""The second stage of a drop: the embeddings of its ranks by one encoder."""

from collections.abc import Iterator, Sequence

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
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.shard_runs import EmbeddingError, ShardJob, embed_shards
from virnucpro_assets.storage.incidents import QuarantinedRow
from virnucpro_assets.storage.shards import ShardManifest, set_aside_shard
from virnucpro_assets.vocabulary import EncoderKind

QUARANTINED_SAID = 5


def embed_drop(
    work: DropWork, kind: EncoderKind, ranks: Sequence[int], lease: Lease, *, replace: bool = False
) -> Iterator[ShardManifest]:
    """Compute the embeddings of some ranks of a drop, yielding each shard as it is finished.

    With `replace`, what is stored under another recipe is set aside instead of refused. Raises
    IntegrityError if the classifier in use cannot read such embeddings, InsufficientDiskSpaceError if the disk has
    too little room, and EmbeddingError at the end if some ranks could not be finished, also because
    another run holds them and the settings say refuse. Raises CheckError if a check of the index holds it back.
    """
    check_ranks(work.settings, work.index.manifest)
    require_passed(work, {"sequence_index": work.index.manifest.digest})
    check_fit(work)
    with shard_locks(work, kind, ranks, before_waiting=lease.rest) as busy:
        free = [rank for rank in ranks if rank not in busy]
        refused = {rank: str(error) for rank, error in busy.items()}
        try:
            if free:
                yield from _embed_locked(work, kind, free, lease, replace=replace)
        except EmbeddingError as error:
            raise EmbeddingError(
                kind, error.failures | refused, error.quarantined, error.exit_code
            ) from error
        if refused:
            raise EmbeddingError(kind, refused, {}, BusyError.exit_code)


def _embed_locked(
    work: DropWork, kind: EncoderKind, ranks: Sequence[int], lease: Lease, *, replace: bool
) -> Iterator[ShardManifest]:
    encoder, index = work.encoders[kind], work.index.manifest
    job = ShardJob(
        index=work.index,
        encoder=encoder,
        recipe=make_recipe(work.settings, index, encoder),
        folders={rank: work.folder.shard(kind, rank, index.ranks) for rank in ranks},
        quarantine=work.settings.quarantine,
        peak_flops=work.settings.peak_tflops and work.settings.peak_tflops * 1e12,
        cache=work.settings.embedding_cache,
    )
    if replace:
        for folder in job.folders.values():
            set_aside_shard(folder, job.recipe)
    require_space_for_embeddings(work, [kind], ranks)
    with recorded_stage(work.folder.stages, kind) as figures:
        tokens = rows = cached = 0
        try:
            for shard in embed_shards(job, lease, work.report):
                tokens += shard.counts.tokens
                rows += shard.rows
                cached += shard.cached_rows
                _note_quarantined(work, kind, shard.rank, shard.incidents.quarantined)
                yield shard
        except EmbeddingError as error:
            for rank in error.failures:
                _note_quarantined(work, kind, rank, error.quarantined.get(rank, []))
            raise
        figures.update(
            {
                "ranks": ", ".join(map(str, ranks)),
                "tokens": tokens,
                "devices": ", ".join(map(str, lease.devices)),
            }
        )
        if job.cache is not None:
            figures.update({"cached_rows": cached, "cached_share": round(cached / rows, 4) if rows else 0.0})


def _note_quarantined(work: DropWork, kind: EncoderKind, rank: int, rows: Sequence[QuarantinedRow]) -> None:
    lines = record_quarantined(work, kind, rank, rows)
    for line in lines[:QUARANTINED_SAID]:
        work.report(line)
    if len(lines) > QUARANTINED_SAID:
        work.report(f"{kind} rank {rank}: {len(lines)} in all, see {work.folder.quarantine}")


def require_space_for_embeddings(work: DropWork, kinds: Sequence[EncoderKind], ranks: Sequence[int]) -> None:
    """Raise InsufficientDiskSpaceError or InputError unless the missing parts of these ranks and the tables fit."""
    needed = sum(embedding_bytes(work, kind, ranks) for kind in kinds)
    if needed:
        check_data_root(work.folder.path)
        what = f"the {' and '.join(kinds)} embeddings and the tables of drop {work.drop.key}"
        needed += cache_bytes(work, kinds, ranks)
        require_disk_space(work.folder.path, needed + table_bytes(work), what)
