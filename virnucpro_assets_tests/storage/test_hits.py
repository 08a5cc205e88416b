from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.call_tables import write_calls
from virnucpro_assets.storage.hits import write_hits


def bases_of(drop):
    return [(b"ACgtN" * int(length))[: int(length)] for length in drop.reads.lengths]


def raw_batches(bases, size):
    for start in range(0, len(bases), size):
        part = bases[start : start + size]
        yield ReadBatch(start, ["raw"] * len(part), Ragged.from_strings(part))


@pytest.fixture
def called(golden_drop, tmp_path):
    golden_drop.call(tmp_path)
    return golden_drop, tmp_path / "read_calls.parquet"


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_hits_are_the_viral_reads_with_their_own_letters(called, tmp_path, size):
    drop, read_calls = called
    bases = bases_of(drop)
    count = write_hits(raw_batches(bases, size), read_calls, tmp_path / "hits.fasta")
    lines = (tmp_path / "hits.fasta").read_bytes().split(b"\n")
    assert lines[-3] == (
        b">long_contig call=Viral tier=high_confidence score=0.98924124 weighted_delta=0.938"
    )
    assert [line.split()[0][1:].decode() for line in lines[:-1:2]] == [
        "exact_300", "just_under_299", "two_chunks_600", "many_chunks_1234", "lower_case_300", "id_chunk_1",
        "pipe|id|NC_1.1|", "long_contig",
    ]  # fmt: skip
    assert lines[1] == bases[0]
    assert lines[-2] == bases[-1]
    assert count == 8


def test_the_least_score_of_a_hit_is_inclusive(called, tmp_path):
    drop, read_calls = called
    bases = bases_of(drop)
    count = write_hits(raw_batches(bases, 5), read_calls, tmp_path / "hits.fasta", 0.8884163)
    names = [line.split()[0] for line in (tmp_path / "hits.fasta").read_text().splitlines()[::2]]
    assert names == [
        ">two_chunks_600",
        ">many_chunks_1234",
        ">id_chunk_1",
        ">pipe|id|NC_1.1|",
        ">long_contig",
    ]
    assert count == 5


def test_an_empty_drop_has_an_empty_file_of_hits(tmp_path):
    write_calls(iter([]), iter([]), tmp_path, partial(call_members, thresholds=CallThresholds()), np.zeros)
    assert write_hits(iter([]), tmp_path / "read_calls.parquet", tmp_path / "hits.fasta") == 0
    assert (tmp_path / "hits.fasta").read_bytes() == b""


def test_reads_of_another_drop_are_refused(called, tmp_path):
    drop, read_calls = called
    bases = bases_of(drop)
    with pytest.raises(IntegrityError, match=r"found 22 reads; expected 21, as in the drop's files"):
        write_hits(raw_batches(bases[:-1], 5), read_calls, tmp_path / "hits.fasta", min_score=0.99)
    bases[0] += b"A"
    with pytest.raises(IntegrityError, match=r"found 307 bases in '>exact_300 .*; expected 308"):
        write_hits(raw_batches(bases, 5), read_calls, tmp_path / "hits.fasta")
    assert not (tmp_path / "hits.fasta").exists()


def test_a_note_ends_each_description_and_is_in_the_metadata_of_the_tables(golden_drop, tmp_path):
    members, reads = golden_drop.member_batches(10), golden_drop.read_batches(4)
    write_calls(
        members,
        reads,
        tmp_path,
        partial(call_members, thresholds=CallThresholds()),
        np.zeros,
        note="demo model",
    )
    calls = tmp_path / "read_calls.parquet"
    write_hits(raw_batches(bases_of(golden_drop), 5), calls, tmp_path / "hits.fasta", note="demo model")
    headers = (tmp_path / "hits.fasta").read_text().splitlines()[::2]
    assert headers[-1].endswith(" weighted_delta=0.938 demo model")
    assert all(header.endswith(" demo model") for header in headers)
    for name in ("read_calls", "chunk_calls"):
        assert pq.read_schema(tmp_path / f"{name}.parquet").metadata[b"virnucpro.note"] == b"demo model"
