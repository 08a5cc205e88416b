"""Dagster's table of partitions, spoiled as two processes that bring it up to date at once spoil it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus, AssetStatusCacheValue

from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.defs.statuses import repair_status_tables

PARTITIONS = Partitions(2)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.add_dynamic_partitions(DROPS, ["first", "second"])
        yield ephemeral


def made(instance: dg.DagsterInstance, asset: str, *keys: str) -> None:
    @dg.op
    def record() -> Iterator[Any]:
        yield from (dg.AssetMaterialization(asset, partition=key) for key in keys)
        yield dg.Output(None)

    @dg.job
    def recording() -> None:
        record()

    assert recording.execute_in_process(instance=instance).success


def statuses(instance: dg.DagsterInstance, asset: str, *keys: str) -> list[AssetPartitionStatus | None]:
    definition = PARTITIONS.drop_ranks if asset == "esm2_embeddings" else PARTITIONS.drops
    found = instance.get_status_by_partition(dg.AssetKey(asset), list(keys), definition) or {}
    return [found.get(key) for key in keys]


def pass_over(instance: dg.DagsterInstance, asset: str, lost: str) -> None:
    """Leave a partition out of the table, which says that it knows all events."""
    key = dg.AssetKey(asset)
    (record,) = instance.get_asset_records([key])
    table = record.asset_entry.cached_status
    assert table is not None
    definition = PARTITIONS.drop_ranks if asset == "esm2_embeddings" else PARTITIONS.drops
    listed = set(table.deserialize_materialized_partition_subsets(definition).get_partition_keys())
    assert lost in listed
    kept = definition.empty_subset().with_partition_keys(listed - {lost}).serialize()
    spoiled = table._replace(serialized_materialized_partition_subset=kept)
    assert isinstance(spoiled, AssetStatusCacheValue)
    instance.update_asset_cached_status_data(key, spoiled)


@pytest.mark.parametrize(
    ("asset", "keys"),
    [("sequence_index", ("first", "second")), ("esm2_embeddings", ("first|0", "first|1"))],
)
def test_a_partition_that_the_table_passed_over_is_found_again(instance, asset: str, keys) -> None:
    made(instance, asset, *keys)
    assert statuses(instance, asset, *keys) == [AssetPartitionStatus.MATERIALIZED] * 2
    pass_over(instance, asset, keys[1])
    assert statuses(instance, asset, *keys) == [AssetPartitionStatus.MATERIALIZED, None]

    assert repair_status_tables(instance, PARTITIONS) == {asset: {keys[1]}}

    assert statuses(instance, asset, *keys) == [AssetPartitionStatus.MATERIALIZED] * 2
    assert repair_status_tables(instance, PARTITIONS) == {}


def test_a_table_that_is_merely_behind_or_missing_is_left_alone(instance) -> None:
    made(instance, "sequence_index", "first")
    assert repair_status_tables(instance, PARTITIONS) == {}
    statuses(instance, "sequence_index", "first")
    made(instance, "sequence_index", "second")

    assert repair_status_tables(instance, PARTITIONS) == {}

    assert statuses(instance, "sequence_index", "second") == [AssetPartitionStatus.MATERIALIZED]


def test_a_drop_that_was_removed_is_not_looked_for(instance) -> None:
    made(instance, "sequence_index", "first", "second")
    statuses(instance, "sequence_index", "first")
    pass_over(instance, "sequence_index", "second")
    instance.delete_dynamic_partition(DROPS, "second")

    assert repair_status_tables(instance, PARTITIONS) == {}
