from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.calling.regions import chunk_bounds, regions_of, smoothed
from virnucpro_assets.settings_groups import RegionRules

CHUNK = 300
NO_SMOOTHING = RegionRules(smoothing_chunks=1, min_region_chunks=2)


def scores(*virus: float) -> np.ndarray:
    return np.array([(1 - one, one) for one in virus], np.float32).reshape(-1, 2)


def found(read, chunk, max_scores, lengths, rules=NO_SMOOTHING) -> list[tuple]:
    regions = regions_of(
        np.array(read, np.int64),
        np.array(chunk, np.int64),
        max_scores,
        np.array(lengths, np.int64),
        chunk_length=CHUNK,
        rules=rules,
    )
    return [
        (read, start, end, chunks, whole)
        for read, start, end, chunks, whole in zip(
            regions.read.tolist(),
            regions.start.tolist(),
            regions.end.tolist(),
            regions.chunks.tolist(),
            regions.is_whole.tolist(),
            strict=True,
        )
    ]


@pytest.mark.parametrize(
    ("chunk", "virus", "expected"),
    [
        ([1, 2, 3, 4, 5], [0.1, 0.9, 0.9, 0.9, 0.1], [(0, 300, 1200, 3, False)]),
        ([1, 2, 3, 4, 5], [0.9] * 5, [(0, 0, 1500, 5, True)]),
        ([1, 2, 3, 4, 5], [0.1] * 5, []),
        # One chunk alone is no region, and exactly the bound is not above it.
        ([1, 2, 3, 4, 5], [0.9, 0.1, 0.5, 0.9, 0.9], [(0, 900, 1500, 2, False)]),
        # Chunks without a score are bridged, and the first and last scored ones count as the whole.
        ([2, 4], [0.9, 0.9], [(0, 300, 1200, 2, True)]),
        ([1, 2, 4, 5], [0.9, 0.9, 0.1, 0.1], [(0, 0, 600, 2, False)]),
    ],
)
def test_a_region_is_a_run_of_chunks_above_the_bound(chunk, virus, expected) -> None:
    assert found([0] * len(chunk), chunk, scores(*virus), [1500]) == expected


def test_a_long_stretch_without_scored_chunks_ends_a_region() -> None:
    read, chunk = [0] * 4, [1, 2, 9, 10]
    for most, expected in (
        (1799, [(0, 0, 600, 2, False), (0, 2400, 3000, 2, False)]),
        (1800, [(0, 0, 3000, 4, True)]),
    ):
        rules = RegionRules(smoothing_chunks=1, min_region_chunks=2, max_unscored_bases=most)
        assert found(read, chunk, scores(*[0.9] * 4), [3000], rules) == expected


def test_regions_never_join_two_reads_and_reads_without_scored_chunks_have_none() -> None:
    assert found([0, 0, 2, 2], [1, 2, 1, 2], scores(*[0.9] * 4), [600, 900, 600]) == [
        (0, 0, 600, 2, True),
        (2, 0, 600, 2, True),
    ]
    assert found([], [], scores(), [600]) == []
    assert found([], [], scores(), []) == []


def test_the_means_are_those_of_the_chunks_of_the_region() -> None:
    max_scores = np.array([(0.9, 0.2), (0.1, 0.8), (0.3, 0.6), (0.9, 0.2)], np.float32)
    regions = regions_of(
        np.zeros(4, np.int64),
        np.arange(1, 5),
        max_scores,
        np.array([1200]),
        chunk_length=CHUNK,
        rules=NO_SMOOTHING,
    )
    assert regions.mean_score == pytest.approx([0.7])
    assert regions.mean_delta == pytest.approx([0.5])


def test_chunks_that_overlap_have_the_bounds_of_the_rule_of_cutting() -> None:
    start, end = chunk_bounds(np.array([0, 0, 1]), np.array([1, 2, 3]), np.array([500, 700]), CHUNK)
    assert (start.tolist(), end.tolist()) == ([0, 249, 466], [300, 500, 700])


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=9), max_size=5),
    st.sampled_from([1, 3, 5, 7]),
)
def test_smoothing_is_the_mean_of_the_neighbours_of_the_same_read(
    reads: list[list[float]], width: int
) -> None:
    values = np.array([one for read in reads for one in read])
    first = np.cumsum([0, *map(len, reads)])[:-1].astype(np.int64)
    assert smoothed(values, first, width) == pytest.approx(list(_means(reads, width)), abs=1e-12)


def _means(reads: list[list[float]], width: int) -> Iterator[float]:
    for read in reads:
        for position in range(len(read)):
            near = read[max(0, position - width // 2) : position + width // 2 + 1]
            yield sum(near) / len(near)


def test_an_even_width_is_refused() -> None:
    with pytest.raises(ValueError, match="an odd number of chunks"):
        RegionRules(smoothing_chunks=4)
