"""The sensor `alerts`: sends alerts of failed runs, failed checks, refused deliveries and overdue drops.

Each tick reads the runs that ended since the last one, in the order of the event log, and the present deliveries and
drops. `maintenance.alerts` sends what is new, and sends again what a target did not accept. A run that Dagster is about
to retry gives no alert: its last retry does.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from virnucpro_assets.checks.results import sentence
from virnucpro_assets.defs.failures import failures_of
from virnucpro_assets.defs.partitions import CALL_DROP, DROPS, drop_and_rank, drops_of
from virnucpro_assets.defs.records import ended_runs
from virnucpro_assets.errors import VirnucproError, counted
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.intake.open_deliveries import read_open_deliveries
from virnucpro_assets.maintenance.alerts import Alert, AlertEntry, Kind, send
from virnucpro_assets.maintenance.overdue import overdue_drops
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.tables import TABLES_MANIFEST, TablesManifest

WILL_RETRY = "dagster/will_retry"
SENSOR = "alerts"
EVERY_SECONDS = 30
ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


def alerts(settings: Settings) -> dg.SensorDefinition:
    """The sensor `alerts`; off if alerts have no target and no drop can be overdue."""
    wanted = settings.alerts.has_target or settings.overdue_hours

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if wanted else dg.DefaultSensorStatus.STOPPED,
        description="Tells of failed runs and checks, refused deliveries and overdue drops, and names overdue drops.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC).replace(microsecond=0)
        ended, cursors = ended_runs(context.instance, json.loads(context.cursor or "{}"), *ENDS)
        found = [
            alert
            for run, message in ended
            for alert in _of_run(context.instance, run, message, settings, now)
        ]
        late = overdue_drops(settings, now)
        found += _of_deliveries(settings, now) + _of_overdue(late, settings, now)
        lines = [f"overdue: {drop} ({hours:.0f} h)" for drop, hours in list(late.items())[:20]]
        if settings.alerts.has_target:
            lines += [alert.title for alert in send(found, settings, context.log.error)]
        return dg.SensorResult(skip_reason="; ".join(lines) or "nothing to tell", cursor=json.dumps(cursors))

    return look


def _of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, message: str, settings: Settings, now: datetime
) -> Iterator[Alert]:
    """What failed in a run that ended; `message` is that of its last event."""
    reported: set[str] = set()
    kinds: tuple[Kind, Kind] = ("check failed", "check warned")

    def alert(kind: Kind, failures: list[AlertEntry]) -> Iterator[Alert]:
        if failures:
            url = f"{settings.alerts.ui_url.rstrip('/')}/runs/{run.run_id}"
            yield Alert(
                kind=kind, failures=failures, run_id=run.run_id, run_url=url, job=_job_of(run), at=now
            )

    if run.status == dg.DagsterRunStatus.FAILURE:
        if run.tags.get(WILL_RETRY, "").lower() == "true":
            return
        failures = failures_of(instance, run, message)
        reported = {failure.drop for failure in failures}
        yield from alert("run failed", failures)
    for kind, checks in zip(kinds, failed_checks_of(instance, run), strict=True):
        yield from alert(kind, [check for check in checks if check.drop not in reported])
        reported |= {check.drop for check in checks}
    if settings.alerts.finished and run.status == dg.DagsterRunStatus.SUCCESS and _makes_reports(run):
        drops = drops_of(run, instance.get_dynamic_partitions(DROPS))
        yield from alert("finished", [_finished(drop, settings) for drop in drops])


def _makes_reports(run: dg.DagsterRun) -> bool:
    chosen = run.asset_selection
    return run.job_name == CALL_DROP if not chosen else dg.AssetKey("drop_report") in chosen


def _finished(drop: str, settings: Settings) -> AlertEntry:
    command = f"virnucpro report {drop}"
    try:
        folder = DropStore(settings.data_root).current(drop)[1]
        counts = read_manifest(folder.calls / TABLES_MANIFEST, TablesManifest).counts
    except (VirnucproError, OSError) as error:
        # It was removed meanwhile, or is damaged: that it was finished is reported all the same.
        return AlertEntry(drop=drop, reason=str(error), command=command)
    reads, hits = counted(counts["reads"], "read"), counted(counts["hits"], "hit")
    reason = f"{reads}, {counts['viral_reads']:,} called Viral, {hits}"
    return AlertEntry(drop=drop, reason=f"{reason}; {folder.report.absolute()}", command=command)


def _of_deliveries(settings: Settings, now: datetime) -> list[Alert]:
    failures = [
        AlertEntry(
            drop=one.name, reason=f"found {one.reason}", command="change the delivery; then `virnucpro drops`"
        )
        for one in read_open_deliveries(settings).deliveries
        if one.state == "refused"
    ]
    return [Alert(kind="delivery refused", failures=failures, at=now)] if failures else []


def _of_overdue(late: dict[str, float], settings: Settings, now: datetime) -> list[Alert]:
    failures = [
        AlertEntry(
            drop=drop,
            reason=f"found no predictions after more than {counted(settings.overdue_hours, 'hour')}; expected some",
            command=f"virnucpro materialize {drop}",
        )
        for drop in late
    ]
    return [Alert(kind="overdue", failures=failures, at=now)] if failures else []


def _job_of(run: dg.DagsterRun) -> str:
    """The name of a run's job, or the assets that were chosen where Dagster made a job of them."""
    if run.job_name.startswith("__") and run.asset_selection:
        return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def failed_checks_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun
) -> tuple[list[AlertEntry], list[AlertEntry]]:
    """The checks that did not pass in a run, by the last evaluation, one failure a drop: errors and warnings."""
    found: dict[bool, dict[tuple[str, str], dict[int | None, str]]] = {True: {}, False: {}}
    for record in instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records:
        event = record.event_log_entry.dagster_event
        if event is None or not (partition := event.asset_check_evaluation_data.partition):
            continue
        check = event.asset_check_evaluation_data
        name = f"{check.check_name} of {check.asset_key.to_user_string()}"
        drop, rank = drop_and_rank(partition)
        for outcomes in found.values():
            outcomes.get((drop, name), {}).pop(rank, None)
        if not check.passed:
            is_error = check.severity == dg.AssetCheckSeverity.ERROR
            found[is_error].setdefault((drop, name), {})[rank] = _sentence(check)
    return list(_by_drop(found[True])), list(_by_drop(found[False]))


def _by_drop(found: dict[tuple[str, str], dict[int | None, str]]) -> Iterable[AlertEntry]:
    for drop in dict.fromkeys(drop for drop, _ in found):
        checks = {name: outcomes for (of, name), outcomes in found.items() if of == drop and outcomes}
        if checks:
            yield AlertEntry(
                drop=drop,
                ranks=sorted({rank for outcomes in checks.values() for rank in outcomes if rank is not None}),
                reason="; ".join(
                    f"check {name}: {figures}"
                    for name, outcomes in checks.items()
                    for figures in dict.fromkeys(outcomes.values())
                ),
                command=f"virnucpro checks {drop}",
            )


def _sentence(check: dg.AssetCheckEvaluation) -> str:
    figures: dict[str, Any] = {name: value.value for name, value in check.metadata.items()}
    threshold = figures.pop("threshold", "another result")
    return sentence(check.check_name, figures, threshold)
