"""How often a partition was tried since it was last made, from the events of the instance."""

from dataclasses import dataclass

import dagster as dg

from virnucpro_assets.defs.records import latest_record
from virnucpro_assets.defs.standing import FAILED, Standing


@dataclass(frozen=True)
class Attempts:
    """How often the most tried partition of a drop failed, and when (seconds) the drop first did."""

    drop: str
    most: int
    since: float


def failed_drops(instance: dg.DagsterInstance, standing: Standing) -> list[Attempts]:
    """The drops of which something failed, the oldest failure first."""
    found = []
    for drop in standing.drops:
        if failed := standing.having(drop, FAILED):
            times = [_tries(instance, asset, key) for asset, keys in failed.items() for key in keys]
            found.append(Attempts(drop, max(map(len, times)), min(map(min, times))))
    return sorted(found, key=lambda attempts: (attempts.since, attempts.drop))


def _tries(instance: dg.DagsterInstance, asset: str, partition: str) -> list[float]:
    """When each run was launched that was to make a partition, after it was last made."""
    made = latest_record(instance, asset, [partition])
    planned = instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(
            event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            asset_key=dg.AssetKey(asset),
            asset_partitions=[partition],
            after_cursor=made.storage_id if made else None,
        )
    )
    return [record.timestamp for record in planned]
