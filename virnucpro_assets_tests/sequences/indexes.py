"""Small indexes of random reads."""

import random
from collections.abc import Iterator
from pathlib import Path

from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.index_builder import index_batches
from virnucpro_assets.sequences.index_manifest import IndexManifest, IndexOrigin
from virnucpro_assets_tests.sequences.reference import batch_of

FILES = ["members.parquet", "reads.parquet", "rows.parquet"]


def some_reads(count: int = 60) -> list[bytes]:
    """Reads of many lengths."""
    rng = random.Random(1)
    return ["".join(rng.choices("ACGT", k=rng.choice([2, 30, 31, 90, 450]))).encode() for _ in range(count)]


def in_batches(reads: list[bytes], size: int) -> Iterator[ReadBatch]:
    for first in range(0, len(reads), size):
        yield batch_of(reads[first : first + size], first)


def indexed(
    reads: list[bytes], folder: Path, *, size: int = 50, budget: int = 20_000, **origin: object
) -> IndexManifest:
    """The index of some reads for 4 ranks, in chunks of 100 bases, unless `origin` says otherwise."""
    whole = {"drop_digest": "d" * 64, "chunk_length": 100, "ranks": 4} | origin
    return index_batches(in_batches(reads, size), folder, IndexOrigin(**whole), memory_budget=budget)
