"""Whether predictions come in time: of the platform as a whole, and of each drop.

Dagster's own freshness policy looks at the last materialisation of an asset, whichever partition it
was of. So drops that were finished long ago never count against it, and it says one thing: that nothing
was predicted for a while. That is an alarm where drops arrive daily and noise elsewhere: it is off
unless `fresh_hours` is set. What matters everywhere is that a drop that did arrive gets its predictions;
no policy of Dagster asks that of a partition, so the sensor `overdue` does.
"""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg

from virnucpro_assets.pipeline.alerts import Alert, Failure, tell
from virnucpro_assets.pipeline.overdue import overdue_drops
from virnucpro_assets.settings import Settings

EVERY_SECONDS = 300
WARN_AT = 0.75


def freshness(settings: Settings) -> dg.FreshnessPolicy | None:
    """The freshness policy of `predictions`, if the settings want one; it warns after three quarters."""
    if settings.fresh_hours is None:
        return None
    whole = timedelta(hours=settings.fresh_hours)
    return dg.FreshnessPolicy.time_window(fail_window=whole, warn_window=whole * WARN_AT)


def overdue(settings: Settings) -> dg.SensorDefinition:
    """The sensor `overdue`."""

    @dg.sensor(
        name="overdue",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING
        if settings.overdue_hours
        else dg.DefaultSensorStatus.STOPPED,
        description=f"Names drops without predictions after {settings.overdue_hours:g} hours, and tells of each once.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC).replace(microsecond=0)
        late, known = overdue_drops(settings, now), set(json.loads(context.cursor or "[]"))
        new = [drop for drop in late if drop not in known]
        if new and settings.alerts.has_target:
            failures = [
                Failure(
                    drop=drop,
                    reason=f"found no predictions after more than {settings.overdue_hours:g} hours; expected some",
                    command=f"virnucpro materialize {drop}",
                )
                for drop in new
            ]
            tell(Alert(kind="overdue", failures=failures, at=now), settings, context.log.error)
        lines = [f"{drop} ({hours:.0f} h)" for drop, hours in late.items()]
        said = f"{len(late)} overdue: {', '.join(lines[:20])}" if late else "no drop is overdue"
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(sorted(late)))

    return look
