"""Splits by genome and by regions, and balance, by value."""

import numpy as np
import pytest

from virnucpro_assets.training.splits import (
    LEFT_OUT,
    TEST,
    TRAINING,
    VALIDATION,
    balanced,
    quotas_of,
    split_of_regions,
    split_of_sources,
)

SHARES = (0.15, 0.15)


@pytest.mark.parametrize(
    ("count", "expected"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (20, (14, 3, 3)), (100, (70, 15, 15))]
)
def test_every_split_gets_its_share_of_the_sources_and_at_least_one(count, expected):
    names = [f"genome{n}" for n in range(count)]
    splits = split_of_sources(names, np.full(count, 50), SHARES, seed=0)
    assert tuple((splits == position).sum() for position in (TRAINING, VALIDATION, TEST)) == expected


def test_a_source_of_half_the_rows_teaches_whatever_its_name():
    names = ["huge", "a", "b", "c", "d", "e", "f"]
    for seed in range(20):
        splits = split_of_sources(names, np.array([600, 100, 100, 100, 100, 100, 100]), SHARES, seed)
        assert splits[0] == TRAINING
        assert [(splits == position).sum() for position in (VALIDATION, TEST)] == [2, 2]


def test_the_split_of_a_source_follows_from_its_name_and_the_seed_alone():
    names = [f"genome{n}" for n in range(40)]

    def dealt(names: list[str], seed: int) -> dict[str, int]:
        splits = split_of_sources(names, np.full(len(names), 7), SHARES, seed)
        return dict(zip(names, splits.tolist(), strict=True))

    splits = dealt(names, 3)
    assert splits == dealt(names[::-1], 3)
    assert splits != dealt(names, 4)
    more = dealt([*names, "new"], 3)
    assert sum(more[name] != splits[name] for name in names) <= 2


def test_one_source_is_cut_into_regions_with_a_chunk_left_out_between_them():
    # Two rows of each of 20 chunks, shuffled: what counts is the position and not the order of the rows.
    positions = np.random.default_rng(1).permutation(np.repeat(np.arange(100, 120), 2))
    splits = split_of_regions(positions, SHARES)
    found = {position: set(splits[positions == position].tolist()) for position in range(100, 120)}
    expected = [TRAINING] * 12 + [LEFT_OUT] + [VALIDATION] * 3 + [LEFT_OUT] + [TEST] * 3
    assert found == {100 + n: {split} for n, split in enumerate(expected)}


def test_the_smallest_source_that_is_cut_has_five_chunks():
    assert split_of_regions(np.arange(5), SHARES).tolist() == [TRAINING, LEFT_OUT, VALIDATION, LEFT_OUT, TEST]
    assert split_of_regions(np.arange(4), SHARES).tolist() == [TRAINING] * 4


@pytest.mark.parametrize(
    ("counts", "target", "expected"),
    [
        ([10, 10, 10], 9, [3, 3, 3]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([1, 2, 100], 50, [1, 2, 47]),
        ([5], 5, [5]),
        ([3, 3], 0, [0, 0]),
    ],
)
def test_quotas_are_as_equal_as_they_can_be(counts, target, expected):
    assert sorted(quotas_of(np.array(counts), target).tolist()) == expected


def test_more_rows_than_there_are_cannot_be_chosen():
    with pytest.raises(ValueError, match="3 rows where 4 are to be chosen"):
        quotas_of(np.array([1, 2]), 4)


def test_both_classes_keep_as_many_rows_and_no_source_many_more_than_the_median():
    # Viruses of 5, 5 and 200 rows, others of 60 and 60: with factor 2 the large virus keeps 10 at most.
    source = np.repeat([0, 1, 2, 3, 4], [5, 5, 200, 60, 60])
    is_virus = source < 3
    kept = balanced(is_virus, source, 2.0, np.random.default_rng(0))
    counts = np.bincount(source[kept], minlength=5).tolist()
    assert counts == [5, 5, 10, 10, 10]
    assert kept.tolist() == sorted(set(kept.tolist()))


def test_the_seed_decides_which_rows_stay():
    source, is_virus = np.repeat([0, 1], [30, 300]), np.repeat([True, False], [30, 300])
    first, again, other = (balanced(is_virus, source, 4.0, np.random.default_rng(n)) for n in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_without_one_of_the_classes_nothing_stays():
    assert balanced(np.ones(4, bool), np.zeros(4, np.int64), 4.0, np.random.default_rng(0)).tolist() == []
