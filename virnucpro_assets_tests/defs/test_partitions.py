"""Partitions by drop, and by drop and rank."""

from types import SimpleNamespace

import dagster as dg
import pytest

from virnucpro_assets.defs.partitions import (
    DROPS,
    Partitions,
    drop_and_rank,
    drops_and_ranks,
    partition_key,
    stretches,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*:dagster_shared.utils.warnings.BetaWarning")


def test_every_rank_of_every_drop_is_a_partition():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DROPS, ["a", "b"])
        keys = Partitions(2).drop_ranks.get_partition_keys(dynamic_partitions_store=instance)

    assert sorted(keys) == ["a|0", "a|1", "b|0", "b|1"]


def test_a_key_is_that_of_dagster_and_gives_the_drop_and_the_rank_back():
    assert partition_key("a", 3) == dg.MultiPartitionKey({"drop": "a", "rank": "3"})
    assert drop_and_rank(partition_key("a", 3)) == ("a", 3)
    assert drop_and_rank(partition_key("a")) == ("a", None)


def test_numbers_are_cut_where_one_is_missing():
    assert list(stretches([3, 0, 1, 5])) == [(0, 1), (3, 3), (5, 5)]
    assert list(stretches([])) == []


def test_the_ranks_of_a_run_are_grouped_by_drop_in_order_and_may_have_gaps():
    keys = [("a", "2"), ("b", "1"), ("a", "0"), ("a", "10")]
    context = SimpleNamespace(
        partition_keys=[dg.MultiPartitionKey({"drop": drop, "rank": rank}) for drop, rank in keys]
    )

    assert drops_and_ranks(context) == {"a": [0, 2, 10], "b": [1]}


def test_a_key_that_is_not_of_a_drop_and_a_rank_is_a_bug():
    with pytest.raises(TypeError, match="'d1' is not of a drop and a rank"):
        drops_and_ranks(SimpleNamespace(partition_keys=["d1"]))
