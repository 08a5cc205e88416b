"""Whether predictions come in time, of the platform as a whole.

Dagster's own freshness policy looks at the last materialisation of an asset, whichever partition it
was of. So drops that were finished long ago never count against it, and it says one thing: that nothing
was predicted for a while. That is an alarm where drops arrive daily and noise elsewhere: it is off
unless `fresh_hours` is set. That a drop which did arrive gets its predictions is what the sensor
`alerts` looks after.
"""

from datetime import timedelta

import dagster as dg

from virnucpro_assets.settings import Settings

WARN_AT = 0.75


def freshness(settings: Settings) -> dg.FreshnessPolicy | None:
    """The freshness policy of `predictions`, if the settings want one; it warns after three quarters."""
    if settings.fresh_hours is None:
        return None
    whole = timedelta(hours=settings.fresh_hours)
    return dg.FreshnessPolicy.time_window(fail_window=whole, warn_window=whole * WARN_AT)
