"""The third stage of a drop: one view of the embeddings of all ranks and both encoders."""

from virnucpro_assets.checks.gate import require_passed, subjects_of_shards
from virnucpro_assets.drops.recipes import check_ranks, make_recipe
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.storage.merged import MergedManifest, write_merged
from virnucpro_assets.vocabulary import ENCODER_KINDS


def merge_drop(work: DropWork) -> MergedManifest:
    """Join the shards of all ranks and both encoders to one view, without a copy.

    Raises CheckError if a check of the index or of a shard holds it back.
    """
    check_ranks(work.settings, work.index.manifest)
    index, ranks = work.index.manifest, range(work.settings.ranks)
    recipes = {kind: make_recipe(work.settings, index, work.encoders[kind]) for kind in ENCODER_KINDS}
    require_passed(work, subjects_of_shards(index.digest, recipes))
    with stage_lock(work, "merged"), recorded_stage(work.folder.stages, "merge"):
        return write_merged(
            work.folder.path,
            {kind: [work.folder.shard(kind, rank, index.ranks) for rank in ranks] for kind in ENCODER_KINDS},
            recipes,
            index.rows,
        )
