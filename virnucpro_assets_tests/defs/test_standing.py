"""What is to be done, from where the partitions stand."""

import pytest

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.schedules import _cron, _minutes_before
from virnucpro_assets.defs.standing import (
    FAILED,
    GOING_ON,
    MADE,
    Standing,
    joined,
    stretches,
    with_dependents,
)

PARTITIONS = Partitions(2)


def standing_of(**changes: object) -> Standing:
    """A drop of which all is made but for some partitions, named with `_` for `|`."""
    statuses = {}
    for asset in (
        "sequence_drop",
        "sequence_index",
        "dnabert_s_embeddings",
        "esm2_embeddings",
        *AFTER_EMBEDDINGS,
    ):
        statuses[asset] = dict.fromkeys(PARTITIONS.of_asset(asset, "d") or [], MADE)
    for name, status in changes.items():
        asset, _, rank = name.partition("__")
        statuses[asset][f"d|{rank}" if rank else "d"] = status
    return Standing(PARTITIONS, ["d"], statuses)


def after(*assets: str) -> dict[str, set[str]]:
    return {asset: {"d"} for asset in assets}


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ("drop_report", after("drop_report", "check_report")),
        ("predictions", after("predictions", "virus_calls", "drop_report", "check_report")),
        ("esm2_embeddings__1", {"esm2_embeddings": {"d|1"}} | after(*AFTER_EMBEDDINGS)),
        (
            "sequence_index",
            after("sequence_index", *AFTER_EMBEDDINGS)
            | {"dnabert_s_embeddings": {"d|0", "d|1"}, "esm2_embeddings": {"d|0", "d|1"}},
        ),
    ],
)
def test_what_failed_is_made_again_with_all_that_depends_on_it(failed, expected) -> None:
    assert standing_of(**{failed: FAILED}).to_repair("d", {}) == expected


def test_what_is_held_back_is_made_again_with_what_failed() -> None:
    held = {"esm2_embeddings": {"d|1"}, "predictions": {"d"}}
    standing = standing_of(virus_calls=FAILED, predictions=None)

    expected = {"esm2_embeddings": {"d|1"}} | after(*AFTER_EMBEDDINGS)
    assert standing.to_repair("d", held) == standing.left_over("d", held) == expected
    assert standing_of().to_repair("d", held) == {}
    assert standing_of().left_over("d", held) == expected


def test_a_drop_of_which_something_goes_on_is_left_alone() -> None:
    standing = standing_of(esm2_embeddings__0=FAILED, predictions=GOING_ON)

    assert (standing.to_repair("d", {}), standing.never_begun("d"), standing.anew("d")) == ({}, {}, {})


def test_a_drop_is_begun_once_and_what_failed_is_not_what_never_began() -> None:
    assert standing_of(drop_report=None).never_begun("d") == after("drop_report")
    assert standing_of(drop_report=None, virus_calls=FAILED).never_begun("d") == {}
    assert standing_of(drop_report=None, virus_calls=FAILED).left_over("d", {}) == after(
        "virus_calls", "drop_report", "check_report"
    )
    assert standing_of().to_repair("d", {}) == {}


def test_of_work_on_one_asset_follows_what_is_made_from_it() -> None:
    work = with_dependents({"dnabert_s_embeddings": {"d|0"}}, PARTITIONS, "d")

    assert work == {"dnabert_s_embeddings": {"d|0"}} | after(*AFTER_EMBEDDINGS)


def test_work_on_several_drops_is_joined() -> None:
    assert joined([{"a": {"1"}}, {"a": {"2"}, "b": {"1"}}, {}]) == {"a": {"1", "2"}, "b": {"1"}}


def test_numbers_are_cut_where_one_is_missing() -> None:
    assert list(stretches([3, 0, 1, 5])) == [(0, 1), (3, 3), (5, 5)]
    assert list(stretches([])) == []


@pytest.mark.parametrize(
    ("at", "lines"),
    [
        ("02:00", ["0-59 0 * * *", "0-59 1 * * *", "0 2 * * *"]),
        ("00:00", ["0-59 22 * * *", "0-59 23 * * *", "0 0 * * *"]),
        ("21:15", ["15-59 19 * * *", "0-59 20 * * *", "0-14 21 * * *", "15 21 * * *"]),
    ],
)
def test_the_two_hours_before_a_time_are_looked_at_minute_by_minute(at: str, lines: list[str]) -> None:
    assert [*_minutes_before(at), _cron(at)] == lines
