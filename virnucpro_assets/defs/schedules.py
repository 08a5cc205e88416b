"""Schedules for those who prefer fixed hours. Both are off until a person turns them on.

Both ask for backfills of what is missing or failed now, and leave alone every drop of which
something goes on. So neither does again what automation does, whichever comes first.
"""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from virnucpro_assets.defs.arrivals import look_for_drops, summary, without_partition
from virnucpro_assets.defs.attempts import failed_drops
from virnucpro_assets.defs.backfills import ask_for, drops_in_backfills
from virnucpro_assets.defs.held_back import held_back
from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.defs.standing import Standing, Work, joined
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

NIGHTLY, RETRY = "nightly_drops", "retry_failed"
CURSOR = f"virnucpro/{NIGHTLY}"


def nightly_drops(settings: Settings, partitions: Partitions) -> dg.ScheduleDefinition:
    """The schedule `nightly_drops`: find drops, then ask for all that was never made."""

    @dg.schedule(
        name=NIGHTLY,
        target=dg.AssetSelection.assets("sequence_drop"),
        cron_schedule=[*_minutes_before(settings.nightly_at), _cron(settings.nightly_at)],
        execution_timezone=settings.timezone,
        description=(
            f"At {settings.nightly_at} asks for everything of the drops that nobody has begun yet. In the two hours "
            "before it looks at the drops folder each minute, so that deliveries can settle."
        ),
    )
    def process(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        instance, cursors = context.instance, context.instance.daemon_cursor_storage
        found = look_for_drops(settings, cursors.get_cursor_values({CURSOR}).get(CURSOR), time.time())
        cursors.set_cursor_values({CURSOR: found.observations.to_cursor()})
        instance.add_dynamic_partitions(DROPS, [one.key for one in without_partition(instance, found)])
        if not begins_the_night(context.scheduled_execution_time, settings):
            return dg.SkipReason(summary(found))
        standing = Standing.of(instance, partitions)
        changed = {one.key for one in found.of("changed")}
        work = {
            drop: standing.anew(drop) if drop in changed else standing.never_begun(drop)
            for drop in standing.drops
            if not DropStore(settings.data_root).is_training_drop(drop)
        }
        return _ask(context, NIGHTLY, work, f"nothing to do; {summary(found)}")

    return process


def retry_failed(settings: Settings, partitions: Partitions) -> dg.ScheduleDefinition:
    """The schedule `retry_failed`: ask again for what failed, the oldest first."""

    @dg.schedule(
        name=RETRY,
        target=dg.AssetSelection.assets("sequence_drop"),
        cron_schedule=settings.retry_cron,
        execution_timezone=settings.timezone,
        description=(
            f"Asks again for what failed and what depends on it, the oldest first, {settings.retry_drops} drops at a "
            f"time; what failed {settings.retry_limit} times is left to a person."
        ),
    )
    def retry(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        standing = Standing.of(context.instance, partitions)
        failed = failed_drops(context.instance, standing)
        again = [one.drop for one in failed if one.most < settings.retry_limit]
        work = {drop: standing.to_repair(drop, held_back(drop, settings)) for drop in again}
        given_up = [one.drop for one in failed if one.most >= settings.retry_limit]
        left = f"; left to a person: {', '.join(given_up)}" if given_up else ""
        return _ask(context, RETRY, work, f"nothing to try again{left}", most=settings.retry_drops)

    return retry


def begins_the_night(tick: datetime, settings: Settings) -> bool:
    """Whether a tick of `nightly_drops` is the one at `nightly_at`, once a day.

    On a day on which the clock jumps over that time, it is the tick at the end of the jump.
    """
    zone = ZoneInfo(settings.timezone)
    at = tick.astimezone(zone)
    if f"{at:%H:%M}" == settings.nightly_at:
        return True
    hour, minute = map(int, settings.nightly_at.split(":"))
    meant = at.replace(hour=hour, minute=minute, fold=0)
    in_seconds = meant.astimezone(UTC)
    is_jumped_over = f"{in_seconds.astimezone(zone):%H:%M}" != settings.nightly_at
    return (
        is_jumped_over and at.utcoffset() != meant.utcoffset() and abs(tick - in_seconds) < timedelta(hours=1)
    )


def _ask(
    context: dg.ScheduleEvaluationContext,
    schedule: str,
    work: dict[str, Work],
    nothing: str,
    most: int | None = None,
) -> dg.SkipReason:
    """Ask for the work on the first `most` drops that have any and are in no backfill; the tick says so."""
    graph = context.repository_def.asset_graph
    busy = drops_in_backfills(context.instance)
    drops = [drop for drop in work if work[drop] and drop not in busy][:most]
    if not drops:
        return dg.SkipReason(nothing)
    backfill = ask_for(
        context.instance,
        graph,
        joined(work[drop] for drop in drops),
        asked_by=schedule,
        name=f"{schedule} {context.scheduled_execution_time.timestamp()}",
    )
    return dg.SkipReason(f"asked for {len(drops)} drops by backfill {backfill}: {', '.join(drops[:20])}")


def _cron(at: str) -> str:
    """The cron line of a time of day, HH:MM."""
    hour, minute = map(int, at.split(":"))
    return f"{minute} {hour} * * *"


def _minutes_before(at: str) -> list[str]:
    """Cron lines of each minute of the two hours before a time of day: when summer time begins, one is missing."""
    hour, minute = map(int, at.split(":"))
    lines = [f"{minute}-59 {(hour - 2) % 24} * * *", f"0-59 {(hour - 1) % 24} * * *"]
    return [*lines, f"0-{minute - 1} {hour} * * *"] if minute else lines
