"""Stages of a drop, first half: its index, its embeddings, and both encoders side by side."""

from collections.abc import Iterator, Sequence

from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Progress
from virnucpro_assets.inference.shard_runs import EmbeddingError, ShardJob, embed_shards
from virnucpro_assets.pipeline.claims import claimed, claimed_shards
from virnucpro_assets.pipeline.fit import check_fit
from virnucpro_assets.pipeline.gate import require_passed, subjects_of_shards
from virnucpro_assets.pipeline.quarantine import record_quarantined
from virnucpro_assets.pipeline.recipes import check_ranks, index_origin, make_recipe
from virnucpro_assets.pipeline.room import (
    cache_bytes,
    check_data_root,
    embedding_bytes,
    index_bytes,
    require_room,
    table_bytes,
)
from virnucpro_assets.pipeline.stages import recorded_stage
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.sequences.former_index import keep_index
from virnucpro_assets.sequences.index import IndexManifest, IndexOrigin
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.storage.incidents import QuarantinedRow
from virnucpro_assets.storage.merged import MANIFEST, MergedManifest, read_merged, write_merged
from virnucpro_assets.storage.parts import refuse_other_recipe
from virnucpro_assets.storage.shards import ShardManifest, set_aside_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

QUARANTINED_SAID = 5


def index_drop(work: DropWork) -> IndexManifest:
    """Read the files of a drop and build its index, or keep the one that is there.

    Raises IntegrityError if a file changed since the drop was listed, InputError if one is no
    file of reads, NoRoomError if the disk has too little room.
    """
    drop = work.drop
    with claimed(work, "index"):
        drop.check_files()
        origin = index_origin(drop, work.settings)
        manifest = keep_index(work.folder.index, origin, work.report) or _build_index(work, origin)
    for remark in manifest.remarks:
        work.report(f"note: {remark}")
    if not manifest.reads:
        work.report(f"warning: drop {drop.key} holds no reads; every output will be empty")
    elif not manifest.rows:
        work.report(
            f"warning: no read of drop {drop.key} has a stop-free frame; the tables of calls will be empty"
        )
    return manifest


def _build_index(work: DropWork, origin: IndexOrigin) -> IndexManifest:
    drop = work.drop
    check_data_root(work.folder.path)
    require_room(work.folder.path, index_bytes(drop.read_files), f"the index of drop {drop.key}")
    with recorded_stage(work.folder.stages, "index") as figures:
        progress = Progress("index", "reads", None, work.report)
        manifest = build_index(drop.read_files, work.folder.index, origin, progress=progress.advance)
        figures.update({"reads": manifest.reads, "members": manifest.members, "rows": manifest.rows})
    return manifest


def embed_drop(
    work: DropWork, kind: EncoderKind, ranks: Sequence[int], lease: Lease, *, replace: bool = False
) -> Iterator[ShardManifest]:
    """Compute the embeddings of some ranks of a drop, yielding each shard as it is finished.

    With `replace`, what is stored under another recipe is set aside instead of refused. Raises
    IntegrityError if the classifier in use cannot read such embeddings, NoRoomError if the disk has
    too little room, and EmbeddingError at the end if some ranks could not be finished, also because
    another run holds them and the settings say refuse. Raises CheckError if a check of the index holds it back.
    """
    check_ranks(work.settings, work.index.manifest)
    require_passed(work, {"sequence_index": work.index.manifest.digest})
    check_fit(work)
    with claimed_shards(work, kind, ranks, before_waiting=lease.rest) as busy:
        free = [rank for rank in ranks if rank not in busy]
        refused = {rank: str(error) for rank, error in busy.items()}
        try:
            if free:
                yield from _embed_claimed(work, kind, free, lease, replace=replace)
        except EmbeddingError as error:
            raise EmbeddingError(
                kind, error.failures | refused, error.quarantined, error.exit_code
            ) from error
        if refused:
            raise EmbeddingError(kind, refused, {}, BusyError.exit_code)


def _embed_claimed(
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
    require_room_for_embeddings(work, [kind], ranks)
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


def require_room_for_embeddings(work: DropWork, kinds: Sequence[EncoderKind], ranks: Sequence[int]) -> None:
    """Raise NoRoomError or InputError unless the disk takes what is missing of these ranks, and the tables."""
    needed = sum(embedding_bytes(work, kind, ranks) for kind in kinds)
    if needed:
        check_data_root(work.folder.path)
        what = f"the {' and '.join(kinds)} embeddings and the tables of drop {work.drop.key}"
        needed += cache_bytes(work, kinds, ranks)
        require_room(work.folder.path, needed + table_bytes(work), what)


def fitting_merged(work: DropWork) -> MergedManifest:
    """The merged view of a drop, its sources there and made from this index under these settings.

    Raises IntegrityError, naming what differs, if it is of another index, encoder or precision.
    """
    merged = read_merged(work.folder.path)
    for kind in ENCODER_KINDS:
        expected = make_recipe(work.settings, work.index.manifest, work.encoders[kind])
        refuse_other_recipe(work.folder.path / MANIFEST, merged.recipes[kind], expected)
    return merged


def merge_drop(work: DropWork) -> MergedManifest:
    """Join the shards of all ranks and both encoders to one view, without a copy.

    Raises CheckError if a check of the index or of a shard holds it back.
    """
    check_ranks(work.settings, work.index.manifest)
    index, ranks = work.index.manifest, range(work.settings.ranks)
    recipes = {kind: make_recipe(work.settings, index, work.encoders[kind]) for kind in ENCODER_KINDS}
    require_passed(work, subjects_of_shards(index.digest, recipes))
    with claimed(work, "merged"), recorded_stage(work.folder.stages, "merge"):
        return write_merged(
            work.folder.path,
            {kind: [work.folder.shard(kind, rank, index.ranks) for rank in ranks] for kind in ENCODER_KINDS},
            recipes,
            index.rows,
        )
