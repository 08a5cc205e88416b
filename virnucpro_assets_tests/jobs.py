"""A small drop, jobs over its index with the demo encoders, cut into many small parts, and what they wrote."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.paths import DROP_FILE, MODELS_FOLDER
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.messages import SampleTask
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.shards import ShardManifest, rank_name, read_shard
from virnucpro_assets.vocabulary import Precision, QuarantinePolicy

READS = 60

Rows = dict[int, npt.NDArray[np.float32]]
Contents = list[tuple[int, str, str, str]]


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


def sample_task(job: ShardJob, row: int, target: Path) -> SampleTask:
    """Embed one row of a job's index into the file `target`."""
    return SampleTask(
        encoder=job.encoder,
        index=job.index.folder,
        index_digest=job.index.manifest.digest,
        rows=[row],
        token_budget=256,
        one_at_a_time=False,
        target=target,
    )


def run_job(pool: DevicePool, job: ShardJob, heard: list[str] | None = None) -> list[ShardManifest]:
    """The shards of a job, by rank, computed on all devices of a pool; what it reports goes to `heard`."""
    with pool.lease() as lease:
        shards = list(embed_shards([job], lease, ([] if heard is None else heard).append))
    return sorted(shards, key=lambda shard: shard.rank)


def contents(shards: Iterable[ShardManifest]) -> Contents:
    """Rank, name and both digests of every part."""
    return sorted(
        (shard.rank, part.name, part.content_sha256, part.file.sha256)
        for shard in shards
        for part in shard.parts
    )


def rows_of_job(job: ShardJob) -> Rows:
    """Every row of the index with its embedding, read through the views of finished shards."""
    rows: Rows = {}
    for rank, folder in job.folders.items():
        shard = read_shard(folder, content=True)
        with h5py.File(folder / "shard.h5") as file:
            assert len(file["rows"]) == shard.rows
            rows |= dict(zip(file["rows"][:].tolist(), file["embeddings"][:], strict=True))
        assert shard.rank == rank
    return rows
