"""The sensors that find drops and take them from one run to the next.

`new_drops` looks at the drops folder. A drop that is new or changed is asked for once for each state of
its files, by the key of its request; a new one is also added as a partition. Were more asked for than its
first run, another drop could not pass it by.

`next_runs` reads the runs that succeeded since its last tick, in the order of the event log, and asks for what
follows each; and it asks for what a schedule found to do.
"""

import json
import time
from contextlib import suppress

import dagster as dg

from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.partitions import DROPS, JOBS, Partitions
from virnucpro_assets.defs.records import ended_runs
from virnucpro_assets.defs.requests import NIGHTLY, RETRY, first_runs, next_runs_after, read_note
from virnucpro_assets.defs.statuses import drops_at_work, repair_status_tables, whole
from virnucpro_assets.defs.steps import fail_dead_runs
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import BusyError
from virnucpro_assets.intake.open_deliveries import record_scan
from virnucpro_assets.intake.registration import register_delivery
from virnucpro_assets.intake.scan import Delivery, Observations, Scan, scan
from virnucpro_assets.settings import Settings

NEW_DROPS, NEXT_RUNS = "new_drops", "next_runs"


def new_drops(settings: Settings, partitions: Partitions) -> dg.SensorDefinition:
    """The sensor `new_drops`."""

    @dg.sensor(
        name=NEW_DROPS,
        jobs=JOBS,
        minimum_interval_seconds=settings.scan_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Finds complete deliveries in the drops folder, and says which ones are refused.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # Dagster reads which classifier predictions are made from before their step begins.
        record_in_use(context.instance, settings)
        for run in fail_dead_runs(context.instance):
            context.log.warning(f"run {run}: its process exited unexpectedly; marked as failed")
        for asset, lost in repair_status_tables(context.instance, partitions).items():
            context.log.warning(
                f"{asset}: Dagster's table of partitions passed over {', '.join(sorted(lost))}; made anew"
            )
        found = look_for_drops(settings, context.cursor, time.time())
        for delivery in found.of("refused"):
            context.log.warning(f"{delivery.name}: refused, found {delivery.reason}")
        new = [delivery.key for delivery in without_partition(context.instance, found)]
        requests = _requests(context.instance, settings, found) if settings.automation else []
        return dg.SensorResult(
            skip_reason=None if requests else f"{len(new)} new; {summary(found)}",
            run_requests=requests,
            dynamic_partitions_requests=[partitions.drops.build_add_request(new)] if new else [],
            cursor=found.observations.to_cursor(),
        )

    return look


def _requests(instance: dg.DagsterInstance, settings: Settings, found: Scan) -> list[dg.RunRequest]:
    """A request for each new or changed drop that nobody works on; it stays so until its files are listed."""
    complete = found.of("ready", "changed")
    at_work = drops_at_work(instance) if complete else {}
    return [
        request
        for one in complete
        if one.key not in at_work
        for request in first_runs(
            one.key, whole(settings.ranks), settings, NEW_DROPS, f"{one.key} {one.seen}"
        )
    ]


def look_for_drops(settings: Settings, former: str | None, now: float) -> Scan:
    """Scan the drops folder and register what is complete; `former` is the cursor of the last look.

    A drop that a command works on is registered at a later look. Writes the record of deliveries that are no
    drops. Adds no partition.
    """
    refusing = settings.model_copy(update={"when_busy": "refuse"})
    found = scan(settings, Observations.from_cursor(former), now)
    for delivery in found.of("ready", "changed"):
        with suppress(BusyError), registration_lock(delivery.key, refusing, lambda _: None):
            register_delivery(delivery, settings)
    record_scan(found, settings, now)
    return found


def without_partition(instance: dg.DagsterInstance, found: Scan) -> list[Delivery]:
    """The complete deliveries that are no partition yet, in the order of their names."""
    there = set(instance.get_dynamic_partitions(DROPS))
    return [delivery for delivery in found.of("ready", "changed") if delivery.key not in there]


def summary(found: Scan) -> str:
    """One line on what is no drop: who settles, and who is refused for which reason."""
    refused = [f"refused {one.name}: found {one.reason}" for one in found.of("refused")]
    settling = found.of("settling")
    waiting = (
        [f"{len(settling)} settling ({', '.join(one.name for one in settling[:5])})"] if settling else []
    )
    return "; ".join([*refused[:20], *waiting]) or "nothing new"


def next_runs(settings: Settings) -> dg.SensorDefinition:
    """The sensor `next_runs`; always on, for it goes on with what a schedule asked for too."""

    @dg.sensor(
        name=NEXT_RUNS,
        jobs=JOBS,
        minimum_interval_seconds=settings.scan_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the embeddings of a drop whose index is made, and for the calls of one that is embedded.",
    )
    def follow(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = json.loads(context.cursor or "{}")
        ended, cursors = ended_runs(context.instance, before, dg.DagsterEventType.RUN_SUCCESS)
        requests: dict[tuple[str, ...], dg.RunRequest] = {}
        for run, _ in ended:
            for request in next_runs_after(run, context.instance, settings, NEXT_RUNS):
                # Of two runs of ranks that ended together each sees all ranks.
                requests[request.job_name or "", *sorted(request.tags.values())] = request
        for schedule in (NIGHTLY, RETRY):
            cursors[schedule], todos = read_note(context.instance, schedule)
            if cursors[schedule] != before.get(schedule, ""):
                for drop, todo in todos.items():
                    key = f"{schedule} {cursors[schedule]} {drop}"
                    requests |= {
                        (key, r.run_key or ""): r for r in first_runs(drop, todo, settings, schedule, key)
                    }
        return dg.SensorResult(
            skip_reason=None if requests else "nothing to follow",
            run_requests=list(requests.values()),
            cursor=json.dumps(cursors),
        )

    return follow
