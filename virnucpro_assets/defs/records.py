"""Reads and writes of Dagster's event log.

Dagster records a step of one partition by itself. The step of the embeddings covers several ranks and records each as
soon as it is finished, and what has no run of its own is recorded from outside. Such events must carry what makes a
record whole: which inputs a materialisation was made from, else it shows as stale; and which materialisation a check
looked at, else the check's partition shows no status.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, sentence
from virnucpro_assets.defs.metadata import Metadata
from virnucpro_assets.storage.provenance import ENGINE_FORMAT

PARENT_RUN = "dagster/parent_run_id"
RUNS_A_TICK = 200
DATA_VERSION = "dagster/data_version"
CheckTarget: Any = dg.AssetCheckEvaluation.__annotations__["target_materialization_data"].__args__[0]
"""What names the materialisation that a check looked at: Dagster exports it by this annotation only."""

Event = (
    dg.MaterializeResult[None]
    | dg.AssetCheckResult
    | dg.AssetMaterialization
    | dg.AssetCheckEvaluation
    | dg.Output[None]
)
"""What a step yields: results where Dagster knows the partition, else events of one partition each."""


def latest_record(
    instance: dg.DagsterInstance, asset: str, partitions: Sequence[str] | None
) -> dg.EventLogRecord | None:
    """The last materialisation of any of the partitions, or of an asset without any; None if there is none."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partitions)
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0] if records else None


def planned(
    instance: dg.DagsterInstance,
    asset: str,
    partitions: Sequence[str],
    *,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[dg.EventLogRecord]:
    """The events of runs that were to make any of the partitions, the latest first; only those `after` a storage id."""
    wanted = dg.EventRecordsFilter(
        event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        asset_key=dg.AssetKey(asset),
        asset_partitions=partitions,
        after_cursor=after,
    )
    return instance.event_log_storage.get_event_records(wanted, limit=limit)


def recorded_version(record: dg.EventLogRecord | None) -> str | None:
    """The data version of a materialisation; None without one."""
    found = record.asset_materialization if record else None
    return (found.tags or {}).get(DATA_VERSION) if found else None


def input_tags(instance: dg.DagsterInstance, asset: str, partitions: Sequence[str] | None) -> dict[str, str]:
    """Tags that say which materialisation of `asset` is the input; ask before it is read.

    Of several partitions it is the last: any of them that is made again comes after it.
    """
    record = latest_record(instance, asset, partitions)
    return {
        f"dagster/input_data_version/{asset}": recorded_version(record) or "INITIAL",
        f"dagster/input_event_pointer/{asset}": str(record.storage_id) if record else "NULL",
    }


def materialisation(
    asset: str,
    partition: str | None,
    *,
    digest: str,
    shown: Metadata,
    tags: Mapping[str, str] | None = None,
) -> dg.AssetMaterialization:
    """The record of one finished partition: its content, what it shows, and in `tags` what it was made from."""
    versions = {
        DATA_VERSION: digest,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": str(ENGINE_FORMAT),
    }
    return dg.AssetMaterialization(
        asset, partition=partition, metadata=shown, tags={**versions, **(tags or {})}
    )


def evaluation(
    instance: dg.DagsterInstance, partition: str | None, result: CheckResult
) -> dg.AssetCheckEvaluation:
    """The record of a check of one partition; its target is the last materialisation of the partition."""
    record = latest_record(instance, result.asset, [partition] if partition else None)
    target = record and CheckTarget(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(result.asset),
        check_name=result.name,
        target_materialization_data=target,
        blocking=result.blocking,
        partition=partition,
        **_shown(result),
    )


def check_result(result: CheckResult) -> dg.AssetCheckResult:
    """The same result for a step of one partition, which Dagster completes."""
    return dg.AssetCheckResult(asset_key=result.asset, check_name=result.name, **_shown(result))


def _shown(result: CheckResult) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "metadata": {"threshold": result.threshold, **result.figures},
        "severity": dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
        "description": None if result.passed else sentence(result.name, result.figures, result.threshold),
    }


def ended_runs(
    instance: dg.DagsterInstance, cursors: Mapping[str, str], *kinds: dg.DagsterEventType
) -> tuple[list[tuple[dg.DagsterRun, str]], dict[str, str]]:
    """The runs that ended in one of these ways after the cursors, with the message of the event; and the next cursors.

    The first look, without a cursor, finds none, and those that ended before it are never found. The run status
    sensors of Dagster do not serve here: they take one run a tick where they ask for runs, do not see the runs of the
    command line, and go on to the next event when their function fails.
    """
    after = dict(cursors)
    found = []
    for kind in kinds:
        is_first = kind.value not in after
        ended = instance.fetch_run_status_changes(
            kind, limit=1 if is_first else RUNS_A_TICK, cursor=after.get(kind.value), ascending=not is_first
        )
        after[kind.value] = ended.cursor
        for record in [] if is_first else ended.records:
            if run := instance.get_run_by_id(record.run_id):
                event = record.event_log_entry.dagster_event
                found.append((run, (event and event.message) or ""))
    return found, after
