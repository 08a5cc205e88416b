"""Schedules for those who prefer fixed hours. Both are off until a person turns them on.

Both leave a note of what is missing or failed now, and of no drop of which something is at work; the sensor
`next_runs` asks for it at its next tick. They do not ask themselves: a schedule can launch runs of one job
only, and the three runs of a drop are three jobs.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS, OF_INDEX, Partitions
from virnucpro_assets.defs.requests import NIGHTLY, RETRY, leave_note
from virnucpro_assets.defs.sensors import look_for_drops, summary, without_partition
from virnucpro_assets.defs.statuses import Statuses, Todo, drops_at_work, failed_drops, whole
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

CURSOR = f"virnucpro/{NIGHTLY}"


def nightly_drops(settings: Settings, partitions: Partitions) -> dg.ScheduleDefinition:
    """The schedule `nightly_drops`: find drops, then ask for all that was never made."""

    @dg.schedule(
        name=NIGHTLY,
        target=dg.AssetSelection.assets(*OF_INDEX),
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
        statuses, store = Statuses.of(instance, partitions), DropStore(settings.data_root)
        changed = {one.key for one in found.of("changed")}
        todos = [
            (drop, whole(settings.ranks) if drop in changed else statuses.never_started(drop))
            for drop in statuses.drops
            if not store.is_training_drop(drop)
        ]
        return _ask(context, NIGHTLY, todos, f"nothing to do; {summary(found)}")

    return process


def retry_failed(settings: Settings, partitions: Partitions) -> dg.ScheduleDefinition:
    """The schedule `retry_failed`: ask again for what failed, the oldest first."""

    @dg.schedule(
        name=RETRY,
        target=dg.AssetSelection.assets(*OF_INDEX),
        cron_schedule=settings.retry_cron,
        execution_timezone=settings.timezone,
        description=(
            f"Asks again for what failed and what depends on it, the oldest first, {settings.retry_drops} drops at a "
            f"time; what failed {settings.retry_limit} times is left to a person."
        ),
    )
    def retry(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        statuses = Statuses.of(context.instance, partitions)
        failed = failed_drops(context.instance, statuses)
        todos = [
            (one.drop, statuses.failed(one.drop, settings))
            for one in failed
            if one.most < settings.retry_limit
        ]
        given_up = [one.drop for one in failed if one.most >= settings.retry_limit]
        left = f"; left to a person: {', '.join(given_up)}" if given_up else ""
        return _ask(context, RETRY, todos, f"nothing to try again{left}", most=settings.retry_drops)

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
    todos: Iterable[tuple[str, Todo]],
    nothing: str,
    most: int | None = None,
) -> dg.SkipReason:
    """Leave a note of the first `most` drops of which there is something to do and nothing at work."""
    at_work = drops_at_work(context.instance)
    due = dict([(drop, todo) for drop, todo in todos if todo and drop not in at_work][:most])
    if not due:
        return dg.SkipReason(nothing)
    leave_note(context.instance, schedule, str(context.scheduled_execution_time.timestamp()), due)
    return dg.SkipReason(f"asked for {len(due)} drops: {', '.join(list(due)[:20])}")


def _cron(at: str) -> str:
    """The cron line of a time of day, HH:MM."""
    hour, minute = map(int, at.split(":"))
    return f"{minute} {hour} * * *"


def _minutes_before(at: str) -> list[str]:
    """Cron lines of each minute of the two hours before a time of day: when summer time begins, one is missing."""
    hour, minute = map(int, at.split(":"))
    lines = [f"{minute}-59 {(hour - 2) % 24} * * *", f"0-59 {(hour - 1) % 24} * * *"]
    return [*lines, f"0-{minute - 1} {hour} * * *"] if minute else lines
