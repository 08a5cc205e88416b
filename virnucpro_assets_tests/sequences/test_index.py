"""The index against a dictionary and one sort, in budgets so small that everything is spilled."""

import gzip
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pysam
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from virnucpro_assets.sequences import index_builder, merge
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.frames import REASONS
from virnucpro_assets.sequences.index import SequenceIndex, first_members, member_counts
from virnucpro_assets.sequences.index_builder import build_index, index_batches
from virnucpro_assets.sequences.index_manifest import IndexOrigin, WholeChunks
from virnucpro_assets.sequences.read_files import ReadFile, pair_files
from virnucpro_assets_tests.frameless import STOPS
from virnucpro_assets_tests.sequences.indexes import in_batches, indexed, some_reads
from virnucpro_assets_tests.sequences.reference import (
    Candidate,
    chunk_lengths,
    drops,
    reason_for,
    reference_candidates,
    reference_chunks,
)

Pair = tuple[bytes, bytes]


def by_dictionary(members: list[Candidate]) -> tuple[list[Pair], dict[Pair, list[int]]]:
    """The rows as (protein, nucleotides), and the positions of the members of each."""
    places: dict[Pair, list[int]] = {}
    for position, member in enumerate(members):
        places.setdefault((member.protein, member.nucleotides), []).append(position)
    return sorted(places, key=lambda pair: (-len(pair[0]), *pair)), places


def rows_of(index: SequenceIndex, start: int, stop: int, step: int = 1) -> list[Pair]:
    batch = index.rows(start, stop, step)
    assert batch.rows.tolist() == list(range(index.manifest.rows))[start:stop:step]
    return [(batch.proteins[i], batch.nucleotides[i]) for i in range(len(batch.rows))]


def check_rows_and_members(index: SequenceIndex, expected: list[Candidate], batch: int) -> None:
    rows, places = by_dictionary(expected)
    count, ranks = len(rows), index.manifest.ranks
    assert rows_of(index, 0, count + 10) == rows
    assert [rows_of(index, rank, count, ranks) for rank in range(ranks)] == [
        rows[r::ranks] for r in range(ranks)
    ]
    assert index.protein_lengths().tolist() == [len(protein) for protein, _ in rows]
    assert index.nucleotide_lengths().tolist() == [len(nucleotides) for _, nucleotides in rows]
    row_of = {pair: row for row, pair in enumerate(rows)}
    found = [
        (read, chunk, frame, row)
        for part in index.member_batches(batch)
        for read, chunk, frame, row in zip(part.read, part.chunk, part.frame, part.row, strict=True)
    ]
    assert found == [
        (one.read, one.chunk, FRAMES.index(one.frame), row_of[one.protein, one.nucleotides])
        for one in expected
    ]
    names = [f"read{one.read}_chunk_{one.chunk}{one.frame}" for one in expected]
    assert first_members(index, range(count)) == {
        row: names[places[pair][0]] for row, pair in enumerate(rows)
    }
    assert member_counts(index, range(count)) == {row: len(places[pair]) for row, pair in enumerate(rows)}


def check_reads(index: SequenceIndex, reads: list[bytes], expected: list[Candidate], batch: int) -> None:
    length, whole = index.manifest.chunk_length, index.manifest.frameless is not None
    members = [sum(one.read == read for one in expected) for read in range(len(reads))]
    reasons = [reason_for(bases, count, length) for bases, count in zip(reads, members, strict=True)]
    chunks = [len(reference_chunks(bases, length)) for bases in reads]
    tables = list(index.read_batches(batch))
    assert [name for table in tables for name in table.names] == [f"read{read}" for read in range(len(reads))]
    for column, values in (("lengths", map(len, reads)), ("chunks", chunks), ("members", members)):
        assert [number for table in tables for number in getattr(table, column)] == list(values)
    assert [REASONS[reason] for table in tables for reason in table.reasons] == reasons
    assert [table.first for table in tables] == list(range(0, len(reads), batch))
    assert index.manifest.reasons == {reason: reasons.count(reason) for reason in REASONS[1:5]}
    assert not whole or index.manifest.reasons["no_stop_free_frame"] == 0


@settings(max_examples=30)
@given(
    reads=drops(),
    chunk_length=chunk_lengths,
    ranks=st.integers(1, 4),
    frameless=st.sampled_from([None, "kept"]),
    sizes=st.tuples(st.integers(1, 5), st.sampled_from([1, 2000]), st.integers(1, 20)),
)
@example(reads=[STOPS * 3] * 2, chunk_length=48, ranks=2, frameless="kept", sizes=(1, 1, 1))
def test_an_index_is_that_of_a_dictionary_and_a_sort_whatever_the_sizes(
    reads: list[bytes],
    chunk_length: int,
    ranks: int,
    frameless: Literal["kept"] | None,
    sizes: tuple[int, int, int],
) -> None:
    size, budget, group = sizes
    expected = reference_candidates(reads, chunk_length, whole_chunks=frameless is not None)
    origin = {"chunk_length": chunk_length, "ranks": ranks, "frameless": frameless}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for constant in ("ROW_GROUP", "MEMBER_GROUP", "READ_GROUP"):
            patch.setattr(index_builder, constant, group)
        patch.setattr(merge, "SMALLEST_BLOCK", 1)
        manifest = indexed(reads, Path(folder, "cut"), size=size, budget=budget, **origin)
        assert indexed(reads, Path(folder, "whole"), budget=1 << 24, **origin) == manifest
        index = SequenceIndex.open(Path(folder, "cut"), verify_content=True)
        check_rows_and_members(index, expected, group)
        check_reads(index, reads, expected, group)
    rows, _ = by_dictionary(expected)
    assert (manifest.rows, manifest.members) == (len(rows), len(expected))
    assert (manifest.reads, manifest.bases, manifest.renamed) == (len(reads), sum(map(len, reads)), 0)
    assert manifest.rows_with_protein == sum(bool(protein) for protein, _ in rows)
    whole = [one.read for one in expected if not one.protein]
    without = len(rows) - manifest.rows_with_protein
    counts = WholeChunks(reads=len(set(whole)), members=len(whole), rows=without) if whole else None
    assert manifest.whole_chunks == counts


def test_the_digest_depends_on_content_chunk_length_and_ranks(tmp_path: Path) -> None:
    reads = some_reads(count=40)
    digests = {
        indexed(reads, tmp_path / "a").digest,
        indexed(reads[:-1], tmp_path / "b").digest,
        indexed(reads, tmp_path / "c", chunk_length=101).digest,
        indexed(reads, tmp_path / "d", ranks=3).digest,
        indexed(reads[::-1], tmp_path / "e").digest,
    }
    assert len(digests) == 5


def test_progress_counts_the_reads(tmp_path: Path) -> None:
    counts: list[int] = []
    index_batches(
        in_batches([b"ATGC"] * 5, 2),
        tmp_path / "index",
        IndexOrigin(drop_digest="", chunk_length=300, ranks=1),
        progress=counts.append,
    )
    assert counts == [2, 4, 5]


def test_repeated_names_of_a_file_get_numbers(tmp_path: Path) -> None:
    path = tmp_path / "reads.fa"
    path.write_text(">a first\nATGC\n>b\nACGT\n>a second\nATGG\n")
    origin = IndexOrigin(drop_digest="x", chunk_length=300, ranks=2)
    manifest = build_index([ReadFile(path)], tmp_path / "index", origin)
    (reads,) = SequenceIndex.open(tmp_path / "index").read_batches()
    assert reads.names == ["a", "b", "a_1"]
    assert (manifest.renamed, manifest.origin) == (1, origin)


def test_the_remarks_of_an_index_count_renamed_reads_and_lone_mates(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("s_1.fa", "s_2.fa", "x.fa")]
    for path, names in zip(files, ("abc", "ac", "xx"), strict=True):
        path.write_bytes(as_fasta(list(names), ["ATGC"] * len(names)))
    origin = IndexOrigin(drop_digest="x", chunk_length=300, ranks=1)
    manifest = build_index(pair_files(files), tmp_path / "index", origin)
    (reads,) = SequenceIndex.open(tmp_path / "index").read_batches()
    assert reads.names == ["a/1", "b/1", "c/1", "a/2", "c/2", "x", "x_1"]
    assert manifest.remarks == [
        "reads renamed because an earlier read has their name: 1 of 7. If they are mates, say so with --paired or "
        "--interleaved",
        "mates whose partner is not there: 1 of 7 reads",
    ]


def as_fasta(names: list[str], reads: list[str], line_end: str = "\n") -> bytes:
    return "".join(
        f">{name} x{line_end}{read}{line_end}" for name, read in zip(names, reads, strict=True)
    ).encode()


def as_fastq(names: list[str], reads: list[str], wrap: int = 1000) -> bytes:
    records = []
    for name, read in zip(names, reads, strict=True):
        lines = [read[start : start + wrap] for start in range(0, len(read), wrap)]
        records.append("\n".join([f"@{name}", *lines, "+", *("I" * len(line) for line in lines)]) + "\n")
    return "".join(records).encode()


def as_bam(names: list[str], reads: list[str]) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        with pysam.AlignmentFile(file.name, "wb", header={"HD": {"VN": "1.6"}}) as bam:
            for name, read in zip(names, reads, strict=True):
                record = pysam.AlignedSegment()
                record.query_name, record.flag, record.query_sequence = name, 4, read
                bam.write(record)
        return Path(file.name).read_bytes()


@pytest.mark.parametrize(
    "written",
    [
        as_fasta,
        partial(as_fasta, line_end="\r\n"),
        lambda names, reads: b"\n" + as_fasta(names, reads).replace(b" x\n", b" x \n\n"),
        as_fastq,
        partial(as_fastq, wrap=60),
        lambda names, reads: gzip.compress(as_fastq(names, reads)),
        lambda names, reads: zstandard.compress(as_fasta(names, reads)),
        as_bam,
    ],
    ids=["fasta", "fasta, CRLF", "irregular fasta", "fastq", "wrapped fastq", "gzip", "zstd", "bam"],
)
def test_rna_has_the_index_of_the_same_dna_in_every_format(
    tmp_path: Path, written: Callable[[list[str], list[str]], bytes]
) -> None:
    rng = random.Random(4)
    dna = ["".join(rng.choices("ACGT", k=120)) for _ in range(50)]
    names = [f"r{number}" for number in range(50)]
    manifests = {}
    for kind, reads in {"dna": dna, "rna": [read.replace("T", "U") for read in dna]}.items():
        path = tmp_path / f"{kind}.reads"
        path.write_bytes(written(names, reads))
        origin = IndexOrigin(drop_digest="", chunk_length=100, ranks=2)
        manifests[kind] = build_index([ReadFile(path)], tmp_path / kind, origin)
    assert manifests["rna"].digest == manifests["dna"].digest
    assert 0 < manifests["rna"].members < 6 * 2 * 50
    assert manifests["dna"].reads_with_u == 0
    # A BAM file knows no U: it holds T already.
    assert manifests["rna"].reads_with_u == (0 if written is as_bam else 50)
    assert bool(manifests["rna"].remarks) == (written is not as_bam)


def test_frames_that_are_hardly_readable_are_counted_and_marked_in_the_row_of_their_read(
    tmp_path: Path,
) -> None:
    reads = [b"ATGGCTGCAGGTCTGAAA", b"N" * 60 + b"ATGGCTGCAGGT", b"N" * 60, b"ACN" * 20]
    manifest = indexed(reads, tmp_path / "index")
    (batch,) = SequenceIndex.open(tmp_path / "index").read_batches()
    assert batch.unreadable.tolist() == [0, 6, 0, 0]
    assert batch.members.tolist()[1:] == [6, 0, 0]
    assert (manifest.unreadable_frames, manifest.unreadable_reads) == (6, 1)
    assert manifest.remarks[0].startswith(
        "reading frames with under half of their codons readable: 6, of 1 read"
    )


PEAK_MEMORY_OF_AN_INDEX = """
import resource, sys, numpy as np
from pathlib import Path
from virnucpro_assets.sequences.batches import FRAMES, ReadBatch
from virnucpro_assets.sequences.index_builder import index_batches
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets.sequences.ragged import Ragged

def batches(reads, size=2000, bases=120):
    rng = np.random.default_rng(0)
    for first in range(0, reads, size):
        letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, size * bases)]
        names = [f"instrument:1:flowcell:{first + i}" for i in range(size)]
        yield ReadBatch(first, names, Ragged.from_lengths(letters, np.full(size, bases)))

folder, reads = Path(sys.argv[1]), int(sys.argv[2])
origin = IndexOrigin(drop_digest="", chunk_length=300, ranks=4)
index_batches(batches(reads), folder, origin, memory_budget=1 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_twice_the_reads_take_less_than_64_bytes_more_memory_each(tmp_path: Path) -> None:
    def peak(reads: int) -> int:
        command = [
            sys.executable,
            "-c",
            PEAK_MEMORY_OF_AN_INDEX,
            str(tmp_path / f"index-{reads}"),
            str(reads),
        ]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    reads = 200_000
    assert peak(2 * reads) - peak(reads) < 64 * reads
