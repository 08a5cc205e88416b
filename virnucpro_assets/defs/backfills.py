"""Work asked for as a backfill, which knows what depends on what and makes as few runs as it can.

Of all that the orchestrator can be asked for, only a backfill takes work of several kinds of
partitions. A schedule may not ask for one by what it returns, so it is put on record as the
daemon does it for sensors, with classes that are private to Dagster.
"""

import time
from hashlib import sha256

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

from virnucpro_assets.defs.standing import Work

ASKED_BY = "virnucpro/asked_by"
ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def ask_for(instance: dg.DagsterInstance, graph: AssetGraph, work: Work, asked_by: str, name: str) -> str:
    """Put a backfill of `work` on record; returns its id. Asked again under the same name, it does nothing."""
    backfill = sha256(name.encode()).hexdigest()[:8]
    if instance.get_backfill(backfill) is None:
        wanted = {
            AssetKeyPartitionKey(dg.AssetKey(asset), key) for asset, keys in work.items() for key in keys
        }
        instance.add_backfill(
            PartitionBackfill.from_asset_graph_subset(
                backfill_id=backfill,
                backfill_timestamp=time.time(),
                tags={ASKED_BY: asked_by},
                dynamic_partitions_store=instance,
                asset_graph_subset=AssetGraphSubset.from_asset_partition_set(wanted, graph),
                title=asked_by,
                description=None,
                run_config=None,
            )
        )
    return backfill


def drops_in_backfills(instance: dg.DagsterInstance) -> set[str]:
    """The drops that a backfill in progress is about, whether it has launched runs of them or not."""
    drops = set()
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=ACTIVE)):
        if data := backfill.asset_backfill_data:
            target = data.target_subset
            for asset in target.partitions_subsets_by_asset_key:
                keys = target.get_partitions_subset(asset).get_partition_keys()
                drops |= {key.split("|")[0] for key in keys}
    return drops
