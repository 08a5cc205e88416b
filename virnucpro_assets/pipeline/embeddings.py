"""Stages of a drop, first half: its index, its embeddings, and both encoders side by side."""

from collections.abc import Iterator, Sequence

from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Progress
from virnucpro_assets.inference.shard_runs import ShardJob, embed_shards
from virnucpro_assets.pipeline.recipes import check_ranks, make_recipe
from virnucpro_assets.pipeline.stages import recorded_stage
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.sequences.index import IndexManifest
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.storage.merged import MANIFEST, MergedManifest, read_merged, write_merged
from virnucpro_assets.storage.parts import refuse_other_recipe
from virnucpro_assets.storage.shards import ShardManifest, set_aside_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind


def index_drop(work: DropWork) -> IndexManifest:
    """Read the files of a drop and build its index.

    Raises IntegrityError if a file changed since the drop was listed, InputError if one is no
    file of reads.
    """
    drop = work.drop
    with recorded_stage(work.folder.stages, "index") as figures:
        drop.check_files()
        progress = Progress("index", "reads", None, work.report)
        manifest = build_index(
            drop.read_files,
            work.folder.index,
            drop_digest=drop.digest,
            chunk_length=drop.source.chunk_length,
            ranks=work.settings.ranks,
            duplicates=drop.source.duplicates,
            progress=progress.advance,
        )
        figures.update({"reads": manifest.reads, "members": manifest.members, "rows": manifest.rows})
    if not manifest.reads:
        work.report(f"warning: drop {drop.key} holds no reads; every output will be empty")
    elif not manifest.rows:
        work.report(
            f"warning: no read of drop {drop.key} has a stop-free frame; the tables of calls will be empty"
        )
    return manifest


def embed_drop(
    work: DropWork, kind: EncoderKind, ranks: Sequence[int], lease: Lease, *, replace: bool = False
) -> Iterator[ShardManifest]:
    """Compute the embeddings of some ranks of a drop, yielding each shard as it is finished.

    With `replace`, what is stored under another recipe is set aside instead of refused.
    """
    check_ranks(work.settings, work.index.manifest)
    encoder = work.encoders[kind]
    job = ShardJob(
        index=work.index,
        encoder=encoder,
        recipe=make_recipe(work.settings, work.index.manifest, encoder),
        folders={rank: work.folder.shard(kind, rank, work.index.manifest.ranks) for rank in ranks},
    )
    if replace:
        for folder in job.folders.values():
            set_aside_shard(folder, job.recipe)
    with recorded_stage(work.folder.stages, kind) as figures:
        tokens = 0
        for shard in embed_shards(job, lease, work.report):
            tokens += shard.counts.tokens
            yield shard
        figures.update(
            {
                "ranks": ", ".join(map(str, ranks)),
                "tokens": tokens,
                "devices": ", ".join(map(str, lease.devices)),
            }
        )


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
    """Join the shards of all ranks and both encoders to one view, without a copy."""
    check_ranks(work.settings, work.index.manifest)
    index, ranks = work.index.manifest, range(work.settings.ranks)
    with recorded_stage(work.folder.stages, "merge"):
        return write_merged(
            work.folder.path,
            {kind: [work.folder.shard(kind, rank, index.ranks) for rank in ranks] for kind in ENCODER_KINDS},
            {kind: make_recipe(work.settings, index, work.encoders[kind]) for kind in ENCODER_KINDS},
            index.rows,
        )
