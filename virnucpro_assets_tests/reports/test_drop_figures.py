from functools import partial

import numpy as np
import pytest

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.reports.drop_figures import chunk_scores, read_lengths, top_calls
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE, write_calls
from virnucpro_assets.storage.scored_members import ScoredMembers


@pytest.fixture
def calls(tmp_path):
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
    write_calls(iter([members]), iter([reads]), tmp_path, partial(call_members, thresholds=CallThresholds()))
    return tmp_path


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


def test_an_empty_drop_has_empty_figures(tmp_path):
    write_calls(iter([]), iter([]), tmp_path, partial(call_members, thresholds=CallThresholds()))
    assert chunk_scores(tmp_path / CHUNK_CALLS_FILE).total == 0
    assert read_lengths(tmp_path / READ_CALLS_FILE).total == 0
    assert top_calls(tmp_path / READ_CALLS_FILE) == []
