"""What the orchestrator writes by itself for a step of one partition, written for one rank of many.

The step of the embeddings covers several ranks and records each as soon as it is finished, and what has no
run of its own is recorded from outside. Such events must carry what makes a record whole: which
inputs a materialisation was made from, else it shows as stale; and which materialisation a check looked
at, else the check's partition shows no status.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, sentence
from virnucpro_assets.defs import metadata
from virnucpro_assets.storage.provenance import ENGINE_FORMAT

PARENT_RUN = "dagster/parent_run_id"
CheckTarget: Any = dg.AssetCheckEvaluation.__annotations__["target_materialization_data"].__args__[0]
"""What names the materialisation that a check looked at: Dagster exports it by this annotation only."""

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]
"""What a step over several partitions yields."""


def latest_record(
    instance: dg.DagsterInstance, asset: str, partitions: Sequence[str] | None
) -> dg.EventLogRecord | None:
    """The last materialisation of any of the partitions, or of an asset without any; None if there is none."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partitions)
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0] if records else None


def input_tags(instance: dg.DagsterInstance, asset: str, partitions: Sequence[str] | None) -> dict[str, str]:
    """Tags that say which materialisation of `asset` is the input; ask before it is read.

    Of several partitions it is the last: any of them that is made again comes after it.
    """
    record = latest_record(instance, asset, partitions)
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


def materialisation(
    asset: str,
    partition: str | None,
    *,
    digest: str,
    shown: metadata.Metadata,
    inputs: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.AssetMaterialization:
    """The record of one finished partition: its content, what it was made from, what it shows."""
    return dg.AssetMaterialization(
        asset,
        partition=partition,
        metadata=shown,
        tags={**version_tags(digest), **(inputs or {}), **(tags or {})},
    )


def evaluation(
    instance: dg.DagsterInstance, partition: str | None, result: CheckResult
) -> dg.AssetCheckEvaluation:
    """The record of a check of one partition; it speaks of the partition's last materialisation."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(result.asset),
        check_name=result.name,
        target_materialization_data=check_target(instance, result.asset, partition),
        blocking=result.blocking,
        partition=partition,
        **_shown(result),
    )


def check_target(instance: dg.DagsterInstance, asset: str, partition: str | None) -> Any:
    """The materialisation that a check of a partition speaks of: the last one, if there is one."""
    record = latest_record(instance, asset, [partition] if partition else None)
    return record and CheckTarget(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )


def check_result(result: CheckResult) -> dg.AssetCheckResult:
    """The same result for a step of one partition, which Dagster completes."""
    return dg.AssetCheckResult(
        asset_key=result.asset,
        check_name=result.name,
        **_shown(result),
    )


def _shown(result: CheckResult) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "metadata": {"threshold": result.threshold, **result.figures},
        "severity": dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
        "description": None if result.passed else sentence(result.name, result.figures, result.threshold),
    }
