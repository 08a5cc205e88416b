"""Every schedule over both changes of the clock, in three time zones."""

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta:dagster_shared.utils.warnings.BetaWarning")

CHANGES = [
    ("Europe/Vienna", (2026, 3, 29)),
    ("Europe/Vienna", (2026, 10, 25)),
    ("America/New_York", (2026, 3, 8)),
    ("America/New_York", (2026, 11, 1)),
    # Here the clock jumps at midnight.
    ("Africa/Cairo", (2026, 4, 24)),
    ("Africa/Cairo", (2026, 10, 29)),
]


def ticks(schedule: str, settings: Settings, day: tuple[int, int, int]) -> list[datetime]:
    """When a schedule ticks from two days before a change to two days after it."""
    zone = ZoneInfo(settings.timezone)
    first = datetime(*day, tzinfo=zone) - timedelta(days=2)
    last = datetime(*day, 23, 59, tzinfo=zone) + timedelta(days=2)
    (found,) = [one for one in build_definitions(settings).schedules or [] if one.name == schedule]
    assert isinstance(found, dg.ScheduleDefinition)
    lines = [found.cron_schedule] if isinstance(found.cron_schedule, str) else list(found.cron_schedule)
    assert found.execution_timezone == settings.timezone
    times = schedule_execution_time_iterator(first.timestamp() - 1, lines, settings.timezone, ascending=True)
    result = []
    for tick in times:
        if tick > last:
            return result
        result.append(tick.astimezone(zone))
    return result


@pytest.mark.parametrize("at", ["00:00", "00:30", "01:30", "02:00", "02:30", "03:00", "23:30"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_the_night_begins_once_a_day(zone: str, day: tuple[int, int, int], at: str) -> None:
    times = ticks("nightly_drops", Settings(timezone=zone, nightly_at=at), day)

    days = [datetime(*day) + timedelta(days=number) for number in range(-2, 3)]
    assert [f"{tick:%m-%d}" for tick in times] == [f"{one:%m-%d}" for one in days]
    assert [f"{tick:%H:%M}" for tick in times].count(at) >= len(days) - 1


@pytest.mark.parametrize(("cron", "hours"), [("0 7-19 * * *", 13), ("30 2 * * *", 1), ("0 * * * *", 0)])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_what_failed_is_tried_again_as_often_as_on_any_day(
    zone: str, day: tuple[int, int, int], cron: str, hours: int
) -> None:
    times = ticks("retry_failed", Settings(timezone=zone, retry_cron=cron), day)

    by_day = Counter(f"{tick:%d}" for tick in times)
    change = f"{day[2]:02d}"
    assert {name: count for name, count in by_day.items() if name != change} == {
        name: hours or 24 for name in by_day if name != change
    }
    assert by_day[change] in ({hours} if hours else {23, 25})


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_the_clean_up_runs_once_a_night(zone: str, day: tuple[int, int, int]) -> None:
    times = ticks("nightly_cleanup", Settings(timezone=zone), day)

    assert [f"{tick:%H:%M}" for tick in times] == ["04:30"] * 5
