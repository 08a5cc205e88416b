"""The clean-up as a job, and the schedule that runs it, which is off until a person turns it on.

The job lists what may be removed; it removes it only if the settings or the run's config say so.
Partitions stay as they are on record: the drop was made, and an asset that Dagster took for missing would
be made again. What was removed `virnucpro drops` shows.
"""

import dagster as dg

from virnucpro_assets.defs.statuses import drops_at_work
from virnucpro_assets.defs.steps import clear_failures
from virnucpro_assets.maintenance.cleanup import clean_up
from virnucpro_assets.settings import Settings

JOB, SCHEDULE = "cleanup", "nightly_cleanup"
AT = "30 4 * * *"
LOGGED = 200


class CleanUpConfig(dg.Config):
    """What a run of the clean-up may do."""

    delete: bool


def cleanup_job(settings: Settings) -> dg.JobDefinition:
    """The job `cleanup`."""

    @dg.op(
        name="clean_up",
        description="Lists what nobody needs any more, with sizes and reasons; removes it if `delete` is set.",
    )
    def clean(context: dg.OpExecutionContext, config: CleanUpConfig) -> None:
        with clear_failures():
            at_work = drops_at_work(context.instance)
            outcome = clean_up(settings, delete=config.delete, at_work=at_work)
        *lines, last = outcome.lines()
        for line in lines[:LOGGED]:
            context.log.info(line)
        if len(lines) > LOGGED:
            context.log.info(f"and {len(lines) - LOGGED} lines more; `virnucpro cleanup` lists all")
        context.log.info(last)
        context.add_output_metadata(
            {
                "things": len(outcome.candidates),
                "bytes": outcome.size,
                "left_alone": len(outcome.skipped),
                "removed": outcome.deleted,
            }
        )

    @dg.job(
        name=JOB,
        config=dg.RunConfig(ops={"clean_up": CleanUpConfig(delete=settings.cleanup_deletes)}),
        description="Lists quarantined, superseded and unfinished files, former generations and data past their time.",
    )
    def cleanup() -> None:
        clean()

    return cleanup


def nightly_cleanup(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule `nightly_cleanup`."""
    does = "removes" if settings.cleanup_deletes else "only lists"
    return dg.ScheduleDefinition(
        name=SCHEDULE,
        job_name=JOB,
        cron_schedule=AT,
        execution_timezone=settings.timezone,
        description=f"At 04:30 {does} what nobody needs any more (setting cleanup_deletes).",
    )
