"""A small drop for every test that needs one: 60 reads spread over the demo drop, and its index."""

import gzip
from pathlib import Path

import pytest

from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.read_files import ReadFile

READS = 60


@pytest.fixture(scope="session")
def small_reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FASTQ file of 60 reads."""
    lines = gzip.decompress(DROP_FILE.read_bytes()).splitlines(keepends=True)
    records = [b"".join(lines[start : start + 4]) for start in range(0, len(lines), 4)]
    path = tmp_path_factory.mktemp("reads") / "small.fastq"
    path.write_bytes(b"".join(records[:: len(records) // READS][:READS]))
    return path


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> SequenceIndex:
    """The index of `small_reads` for 4 ranks."""
    folder = tmp_path_factory.mktemp("small") / "index"
    build_index([ReadFile(small_reads)], folder, drop_digest="d" * 64, chunk_length=300, ranks=4)
    return SequenceIndex.open(folder)
