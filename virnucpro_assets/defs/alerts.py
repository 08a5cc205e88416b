"""The sensors that tell people of failed runs and of checks that did not pass.

They are on if the settings name a target. A run that the orchestrator is about to try again by itself is
not told: the last try is. Dagster's own e-mail sensor is not used: it always logs in, sends HTML that
nothing escapes, knows no other target and no drop.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.defs.process_runs import is_of_a_command
from virnucpro_assets.defs.run_drops import drops_of
from virnucpro_assets.pipeline.alerts import Alert, Failure, tell
from virnucpro_assets.settings import Settings

WILL_RETRY = "dagster/will_retry"
FAILED_RUNS, FAILED_CHECKS = "alert_on_failed_runs", "alert_on_failed_checks"


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors `alert_on_failed_runs` and `alert_on_failed_checks`."""
    status = dg.DefaultSensorStatus.RUNNING if settings.alerts.has_target else dg.DefaultSensorStatus.STOPPED

    @dg.run_failure_sensor(
        name=FAILED_RUNS,
        default_status=status,
        description="Tells of failed runs: the drop, its ranks, the reason, the run and the command that repairs.",
    )
    def alert_on_failed_runs(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if _is_tried_again(run):
            context.log.info(f"run {run.run_id} failed and will be tried again: nothing is told yet")
            return
        failures = failures_of(
            context.instance, run, context.failure_event.message or "no reason is on record"
        )
        told = {failure.drop for failure in failures}
        _tell(context, settings, "run failed", failures)
        others = [check for check in failed_checks_of(context.instance, run) if check.drop not in told]
        _tell(context, settings, "check failed", others)

    @dg.run_status_sensor(
        name=FAILED_CHECKS,
        run_status=dg.DagsterRunStatus.SUCCESS,
        default_status=status,
        description="Tells of checks that did not pass in runs that went on all the same.",
    )
    def alert_on_failed_checks(context: dg.RunStatusSensorContext) -> None:
        _tell(context, settings, "check failed", failed_checks_of(context.instance, context.dagster_run))

    return [alert_on_failed_runs, alert_on_failed_checks]


def failures_of(instance: dg.DagsterInstance, run: dg.DagsterRun, otherwise: str) -> list[Failure]:
    """What failed in a run, by drop; `otherwise` is the reason where no step says one."""
    reasons: dict[str, list[str]] = {}
    ranks: dict[str, list[int]] = {}
    lines: list[str] = []
    for event in _step_failures(instance, run):
        by_drop = _json(event, "drops")
        for drop, line in by_drop.items():
            reasons.setdefault(drop or _only(instance, run), []).append(line)
        for drop, failed in _json(event, "ranks").items():
            ranks[drop or _only(instance, run)] = failed
        if not by_drop:
            lines.append(_line(event))
    if lines or not reasons:
        for drop in drops_of(run, instance.get_dynamic_partitions(DROPS)) or [""]:
            reasons.setdefault(drop, lines or [_first_line(otherwise)])
    return [
        Failure(
            drop=drop,
            ranks=ranks.get(drop, []),
            reason="; ".join(dict.fromkeys(found)),
            command=f"virnucpro retry {drop}" if drop else "see the log of the run",
        )
        for drop, found in reasons.items()
    ]


def failed_checks_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Failure]:
    """The checks that did not pass in a run, one failure a drop, that of the last evaluation."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for record in instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records:
        event = record.event_log_entry.dagster_event
        if event is None or not (partition := event.asset_check_evaluation_data.partition):
            continue
        check = event.asset_check_evaluation_data
        name = f"{check.check_name} of {check.asset_key.to_user_string()}"
        drop, _, rank = partition.partition("|")
        outcomes = found.setdefault((drop, name), {})
        outcomes.pop(rank, None)
        if not check.passed:
            outcomes[rank] = _figures(check)
    return list(_by_drop(found))


def _by_drop(found: dict[tuple[str, str], dict[str, str]]) -> Iterable[Failure]:
    for drop in dict.fromkeys(drop for drop, _ in found):
        checks = {name: outcomes for (of, name), outcomes in found.items() if of == drop and outcomes}
        if checks:
            yield Failure(
                drop=drop,
                ranks=sorted({int(rank) for outcomes in checks.values() for rank in outcomes if rank}),
                reason="; ".join(
                    f"check {name}: {figures}"
                    for name, outcomes in checks.items()
                    for figures in dict.fromkeys(outcomes.values())
                ),
                command=f"virnucpro checks {drop}",
            )


def _tell(
    context: dg.RunStatusSensorContext | dg.RunFailureSensorContext,
    settings: Settings,
    kind: str,
    failures: list[Failure],
) -> None:
    if not failures:
        return
    run = context.dagster_run
    alert = Alert.model_validate(
        {
            "kind": kind,
            "failures": failures,
            "run_id": run.run_id,
            "run_url": f"{settings.alerts.ui_url.rstrip('/')}/runs/{run.run_id}",
            "job": run.job_name,
            "at": datetime.now(UTC).replace(microsecond=0),
        }
    )
    sent = tell(alert, settings, context.log.error)
    context.log.info(f"told: {sent.title}" if sent else f"told before: {alert.title}")


def _is_tried_again(run: dg.DagsterRun) -> bool:
    """Whether the orchestrator starts a run again; those of the command line it cannot, whatever it says."""
    return run.tags.get(WILL_RETRY, "").lower() == "true" and not is_of_a_command(run)


def _step_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterable[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    for record in records:
        if (event := record.event_log_entry.dagster_event) is not None:
            yield event


def _json(failure: dg.DagsterEvent, name: str) -> dict[str, Any]:
    known = failure.step_failure_data.user_failure_data
    value = known.metadata.get(name) if known else None
    return value.data if isinstance(value, dg.JsonMetadataValue) and isinstance(value.data, dict) else {}


def _only(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The drop of a run that is about one only, else an empty name."""
    drops = drops_of(run, instance.get_dynamic_partitions(DROPS))
    return drops[0] if len(drops) == 1 else ""


def _line(failure: dg.DagsterEvent) -> str:
    data = failure.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return _first_line(data.user_failure_data.description)
    cause = data.error and (data.error.cause or data.error)
    return _first_line(cause.message) if cause else "no reason is on record"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason is on record")


def _figures(check: dg.AssetCheckEvaluation) -> str:
    figures = {name: value.value for name, value in check.metadata.items()}
    threshold = figures.pop("threshold", "")
    found = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
    return f"found {found}; expected {threshold}" if threshold else f"found {found}"
