"""Jobs over a small index with the demo encoders, cut into many small parts."""

from pathlib import Path

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.inference.shard_runs import ShardJob
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.shards import rank_name
from virnucpro_assets.vocabulary import Precision, QuarantinePolicy


def small_job(
    index: SequenceIndex,
    out: Path,
    model: Path = MODELS_FOLDER / "esm2",
    *,
    precision: Precision = "float32",
    budget: int = 256,
    packs_per_part: int = 1,
    quarantine: QuarantinePolicy = "fail",
) -> ShardJob:
    """A job of packs of at most `budget` tokens over all ranks of `index`, its shards under `out`."""
    folder = read_model_folder(model)
    encoder = EncoderChoice(
        kind=folder.kind,
        folder=folder.path,
        digest=folder.digest,
        width=folder.width,
        precision=precision,
    )
    ranks = index.manifest.ranks
    recipe = Recipe(
        encoder=encoder.kind,
        index_digest=index.manifest.digest,
        weights_digest=encoder.digest,
        precision=precision,
        attention="dense-runs",
        token_budget=budget,
        packs_per_part=packs_per_part,
        ranks=ranks,
    )
    folders = {rank: out / encoder.kind / rank_name(rank, ranks) for rank in range(ranks)}
    return ShardJob(index, encoder, recipe, folders, quarantine)
