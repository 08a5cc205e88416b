"""What the orchestrator writes by itself for a step of one partition, written for one of many.

A run over several partitions may record each of them by events of its own. Such events must
carry what makes a record whole: which inputs a materialisation was made from, else it shows
as stale; and which materialisation a check looked at, else the check's partition shows no
status.
"""

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from virnucpro_assets.storage.recipe import ENGINE_FORMAT


def latest_record(instance: dg.DagsterInstance, asset: str, partition: str) -> dg.EventLogRecord | None:
    """The last materialisation of a partition, if there is one."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0] if records else None


def input_tags(instance: dg.DagsterInstance, asset: str, partition: str) -> dict[str, str]:
    """Tags that say which materialisation of `asset` is the input; ask before it is read."""
    record = latest_record(instance, asset, partition)
    found = record.asset_materialization if record else None
    version = (found.tags or {}).get("dagster/data_version") if found else None
    return {
        f"dagster/input_data_version/{asset}": version or "INITIAL",
        f"dagster/input_event_pointer/{asset}": str(record.storage_id) if record else "NULL",
    }


def version_tags(digest: str) -> dict[str, str]:
    """Tags that say which content a materialisation has, and by which code it was made."""
    return {
        "dagster/data_version": digest,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": str(ENGINE_FORMAT),
    }


def check_target(
    instance: dg.DagsterInstance, asset: str, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The materialisation that a check of a partition speaks of: the last one, if there is one."""
    record = latest_record(instance, asset, partition)
    return record and AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
