"""What the orchestrator writes by itself for a step of one partition, written for one of many.

A run over several partitions records each of them by events of its own, as soon as it is
finished. Such events must carry what makes a record whole: which inputs a materialisation was
made from, else it shows as stale; and which materialisation a check looked at, else the check's
partition shows no status.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from virnucpro_assets.checks.results import CheckResult, sentence
from virnucpro_assets.defs import metadata
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

RETRY_NUMBER, PARENT_RUN = "dagster/retry_number", "dagster/parent_run_id"

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
        passed=result.passed,
        metadata=metadata.check_metadata(result),
        target_materialization_data=check_target(instance, result.asset, partition),
        severity=dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
        blocking=result.blocking,
        partition=partition,
        description=None if result.passed else sentence(result.name, result.figures, result.threshold),
    )


def check_target(
    instance: dg.DagsterInstance, asset: str, partition: str | None
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The materialisation that a check of a partition speaks of: the last one, if there is one."""
    record = latest_record(instance, asset, [partition] if partition else None)
    return record and AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )


class EarlierTries:
    """What the earlier tries of a step have recorded: it is not done, and not recorded, again.

    A step is tried again by its retry policy, in the same run, or by the daemon's retry of a run
    whose process died, in a new run. A run that a person starts again has no earlier tries, and neither
    do the daemon's retries of it have any before it. A blocking check that did not pass is run again:
    what follows must meet it.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._materialised: set[tuple[str, str | None]] = set()
        self._checked: set[tuple[str, str, str | None]] = set()
        run: dg.DagsterRun | None = context.run
        if context.retry_number:
            self._read(context.instance, context.run.run_id)
        # Dagster gives this tag to the daemon's retries alone, and a person's repeat does not inherit it.
        while run and RETRY_NUMBER in run.tags:
            run = context.instance.get_run_by_id(run.tags[PARENT_RUN])
            if run:
                self._read(context.instance, run.run_id)

    def materialised(self, asset: str, partition: str) -> bool:
        """Whether an earlier try has made this partition."""
        return (asset, partition) in self._materialised

    def checked(self, asset: str, check: str, partition: str) -> bool:
        """Whether an earlier try has evaluated this check of this partition, and it holds nothing back."""
        return (asset, check, partition) in self._checked

    def _read(self, instance: dg.DagsterInstance, run_id: str) -> None:
        for record in instance.get_records_for_run(
            run_id,
            of_type={dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION},
        ).records:
            if made := record.asset_materialization:
                self._materialised.add((made.asset_key.to_user_string(), made.partition))
            elif (event := record.event_log_entry.dagster_event) is not None:
                found = event.asset_check_evaluation_data
                check = (found.asset_key.to_user_string(), found.check_name, found.partition)
                if found.passed or not found.blocking:
                    self._checked.add(check)
                else:
                    self._checked.discard(check)
