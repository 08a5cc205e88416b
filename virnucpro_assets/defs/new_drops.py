"""How drops are found: the sensor `new_drops` and, for those who prefer fixed hours, the schedule `nightly_drops`.

The sensor looks at the drops folder. A drop that is new or changed is asked for once for each state of its files, by
the key of its request; a new one is also added as a partition. Only its first run is asked for, so that other drops
can pass it by.

With the setting `automation` off the sensor only finds and registers drops. The schedule, off until a person turns it
on, then leaves a note of all that was never begun, which the sensor `next_runs` reads.
"""

import time
from contextlib import suppress

import dagster as dg

from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.drop_states import drops_at_work
from virnucpro_assets.defs.next_runs import NIGHTLY, ask, first_runs
from virnucpro_assets.defs.partitions import DROPS, JOBS, OF_INDEX, Partitions
from virnucpro_assets.defs.statuses import NOTHING, Statuses, Todo, repair_status_tables, whole
from virnucpro_assets.defs.steps import fail_dead_runs
from virnucpro_assets.drops.stage_locks import registration_lock_now
from virnucpro_assets.errors import BusyError, InputError, IntegrityError
from virnucpro_assets.intake.open_deliveries import record_scan
from virnucpro_assets.intake.registration import register_delivery
from virnucpro_assets.intake.scan import Observations, Scan, scan
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

NEW_DROPS = "new_drops"


def new_drops(settings: Settings) -> dg.SensorDefinition:
    """The sensor `new_drops`."""
    partitions = Partitions(settings.ranks)

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
                f"{asset}: Dagster's table of partitions passed over {', '.join(sorted(lost))}; Dagster makes it again"
            )
        found = look_for_drops(settings, context.cursor, time.time())
        for delivery in found.of("refused"):
            context.log.warning(f"{delivery.name}: refused, found {delivery.reason}")
        there = context.instance.get_dynamic_partitions(DROPS)
        new = [one.key for one in found.of("ready", "changed") if one.key not in there]
        requests = _requests(context.instance, settings, found) if settings.automation else []
        return dg.SensorResult(
            skip_reason=None if requests else f"{len(new)} new; {summary(found)}",
            run_requests=requests,
            dynamic_partitions_requests=[partitions.drops.build_add_request(new)] if new else [],
            cursor=found.observations.to_cursor(),
        )

    return look


def _requests(instance: dg.DagsterInstance, settings: Settings, found: Scan) -> list[dg.RunRequest]:
    """A request for each new or changed drop that is not at work, at each tick until its files are listed."""
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


def nightly_drops(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule `nightly_drops`: ask for all that was never made of the drops that were found."""
    hour, minute = map(int, settings.nightly_at.split(":"))

    @dg.schedule(
        name=NIGHTLY,
        target=dg.AssetSelection.assets(*OF_INDEX),
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone=settings.timezone,
        description=f"At {settings.nightly_at} asks for everything of the drops that were never begun.",
    )
    def process(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        statuses = Statuses.of(context.instance, Partitions(settings.ranks))
        todos = [(drop, _never_made(drop, statuses, settings)) for drop in statuses.drops]
        return ask(context, NIGHTLY, todos, "nothing to do")

    return process


def _never_made(drop: str, statuses: Statuses, settings: Settings) -> Todo:
    """What was never made of a drop: all of it if its delivery changed since its files were listed."""
    store = DropStore(settings.data_root)
    try:
        if store.is_training_drop(drop):
            return NOTHING
        source = store.source(drop)
        is_changed = source and source.delivery and store.was_listed(drop) and not store.is_listed(drop)
    except InputError:
        # A partition that was added by hand can have a name that no drop can have.
        return NOTHING
    except IntegrityError:
        # The next stage of the drop reports the damaged record; other drops must not wait for that.
        is_changed = False
    return whole(settings.ranks) if is_changed else statuses.never_started(drop)


def look_for_drops(settings: Settings, former: str | None, now: float) -> Scan:
    """Scan the drops folder and register what is complete; `former` is the cursor of the last look.

    A drop that a command works on is registered at a later look. Writes the record of deliveries that are no
    drops. Adds no partition.
    """
    found = scan(settings, Observations.from_cursor(former), now)
    for delivery in found.of("ready", "changed"):
        with suppress(BusyError), registration_lock_now(delivery.key, settings):
            register_delivery(delivery, settings)
    record_scan(found, settings, now)
    return found


def summary(found: Scan) -> str:
    """One line on what is no drop: what is settling, and what is refused and why."""
    refused = [f"refused {one.name}: found {one.reason}" for one in found.of("refused")]
    settling = found.of("settling")
    waiting = (
        [f"{len(settling)} settling ({', '.join(one.name for one in settling[:5])})"] if settling else []
    )
    return "; ".join([*refused[:20], *waiting]) or "nothing new"
