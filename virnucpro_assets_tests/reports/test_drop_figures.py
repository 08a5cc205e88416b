from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.reports.drop_figures import (
    chunk_scores,
    low_complexity,
    q_values,
    read_lengths,
    top_calls,
)
from virnucpro_assets.reports.drop_report import LowComplexity
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE, write_calls
from virnucpro_assets.storage.scored_members import ScoredMembers


def five_reads():
    """Four reads of one chunk each, one of five chunks, and one without a candidate."""
    virus = np.array([0.9, 0.1, 0.95, 0.9, 0.7, 0.8, 0.9, 0.8, 0.7], np.float32)
    read = np.array([0, 1, 2, 3, 5, 5, 5, 5, 5])
    members = ScoredMembers(
        read,
        np.array([1, 1, 1, 1, 1, 2, 3, 4, 5], np.int32),
        np.zeros(9, np.int8),
        np.stack([1 - virus, virus], axis=1),
        np.zeros(9, np.int8),
    )
    counts = np.bincount(read).astype(np.int32)
    reads = ReadTableBatch(
        0,
        list("abcdef"),
        np.array([151, 151, 151, 151, 2, 1400]),
        counts,
        counts,
        np.array([0, 0, 0, 0, 2, 0], np.int8),
        np.zeros(6, np.int32),
    )
    return members, reads


@pytest.fixture
def calls(tmp_path):
    """The calls of these reads."""
    members, reads = five_reads()
    folder = tmp_path / "calls"
    write_calls(
        iter([members]), iter([reads]), folder, partial(call_members, thresholds=CallThresholds()), np.zeros
    )
    return folder


def test_scores_of_all_chunks_are_counted(calls):
    histogram = chunk_scores(calls / CHUNK_CALLS_FILE)
    assert histogram.total == 9
    assert sum(histogram.counts[:10]) == 1


def test_lengths_of_all_reads_are_counted(calls):
    assert read_lengths(calls / READ_CALLS_FILE).total == 6


def test_the_strongest_calls_come_by_tier_then_delta_then_order(calls):
    rows = top_calls(calls / READ_CALLS_FILE)
    assert [row.name for row in rows] == ["f", "c", "a", "d"]
    assert rows[0].tier == "moderate_confidence"
    assert (rows[1].length, rows[1].chunks, rows[1].score) == (151, 1, pytest.approx(0.95))
    assert [row.name for row in top_calls(calls / READ_CALLS_FILE, count=2)] == ["f", "c"]


def test_the_low_complexity_of_a_drop_is_counted_in_chunks_and_in_viral_reads(calls, tmp_path):
    assert low_complexity(calls / READ_CALLS_FILE, 20) == LowComplexity(
        above=20, low_chunks=0, chunks=9, viral_reads=0
    )
    members, reads = five_reads()
    # Of b, which is not Viral, the only chunk; of f, which is, three of five.
    dust = np.array([0, 99, 0, 0, 99, 99, 99, 0, 0], np.float32)
    thresholds = partial(call_members, thresholds=CallThresholds())
    write_calls(iter([members]), iter([reads]), tmp_path, thresholds, lambda count: dust[:count])
    found = low_complexity(tmp_path / READ_CALLS_FILE, 20)
    assert found == LowComplexity(above=20, low_chunks=4, chunks=9, viral_reads=1)
    by_name = {row.name: row.low_complexity for row in top_calls(tmp_path / READ_CALLS_FILE)}
    assert by_name == {"f": 0.6, "c": 0, "a": 0, "d": 0}


def test_q_values_of_reads_that_have_one_are_counted(calls, tmp_path):
    assert q_values(calls / READ_CALLS_FILE).total == 0
    members, reads = five_reads()
    write_calls(
        iter([members]),
        iter([reads]),
        tmp_path,
        partial(call_members, thresholds=CallThresholds()),
        np.zeros,
        q_values=lambda _, p_virus: np.where(p_virus > 0.85, 0.101, np.nan),
    )
    found = q_values(tmp_path / READ_CALLS_FILE)
    assert (found.total, found.counts[20], found.edges[20]) == (4, 4, pytest.approx(0.1))


def test_calls_of_an_older_version_are_refused_with_the_column_that_they_lack(calls):
    path = calls / READ_CALLS_FILE
    pq.write_table(pq.read_table(path).drop_columns(["low_complexity_share"]), path, write_page_checksum=True)
    with pytest.raises(IntegrityError, match=r"read_calls\.parquet: found no column low_complexity_share;"):
        low_complexity(path, 20)


def test_an_empty_drop_has_empty_figures(tmp_path):
    write_calls(iter([]), iter([]), tmp_path, partial(call_members, thresholds=CallThresholds()), np.zeros)
    assert chunk_scores(tmp_path / CHUNK_CALLS_FILE).total == 0
    assert read_lengths(tmp_path / READ_CALLS_FILE).total == 0
    assert top_calls(tmp_path / READ_CALLS_FILE) == []
    assert q_values(tmp_path / READ_CALLS_FILE).total == 0
    assert low_complexity(tmp_path / READ_CALLS_FILE, 20).chunks == 0
