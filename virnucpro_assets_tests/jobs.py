"""A small drop, and jobs over its index with the demo encoders, cut into many small parts."""

import gzip
from pathlib import Path

from virnucpro_assets.demo.paths import DROP_FILE, MODELS_FOLDER
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.inference.shard_runs import ShardJob
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.sequences.index import IndexOrigin, SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.shards import rank_name
from virnucpro_assets.vocabulary import Precision, QuarantinePolicy

READS = 60


def write_small_reads(path: Path) -> None:
    """Write a FASTQ file of 60 reads of the demo drop."""
    lines = gzip.decompress(DROP_FILE.read_bytes()).splitlines(keepends=True)
    records = [b"".join(lines[start : start + 4]) for start in range(0, len(lines), 4)]
    path.write_bytes(b"".join(records[:: len(records) // READS][:READS]))


def build_small_index(reads: Path, folder: Path) -> SequenceIndex:
    """The index of a FASTQ file for 4 ranks, in a new folder."""
    build_index([ReadFile(reads)], folder, IndexOrigin(drop_digest="d" * 64, chunk_length=300, ranks=4))
    return SequenceIndex.open(folder)


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
