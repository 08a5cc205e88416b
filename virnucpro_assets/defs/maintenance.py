"""The clean-up as a job with its schedule, which is off until a person turns it on; and how a drop is forgotten.

The job lists what may be removed; it removes it only if the settings or the run's config say so. Partitions stay as
they are on record: the drop was made, and an asset that Dagster took for missing would be made again. `virnucpro drops`
shows what was removed.

Of a drop that is forgotten the partition and the data go. Its runs stay as the history of what was done.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg

from virnucpro_assets.defs.drop_states import drops_at_work
from virnucpro_assets.defs.partitions import ASSETS, DROPS, Partitions
from virnucpro_assets.defs.records import planned
from virnucpro_assets.defs.steps import clear_failures, fail_dead_runs
from virnucpro_assets.drops.disk_space import readable_size
from virnucpro_assets.drops.stage_locks import registration_lock_now
from virnucpro_assets.drops.work import no_such_drop
from virnucpro_assets.errors import BusyError, counted
from virnucpro_assets.maintenance.cleanup import clean_up
from virnucpro_assets.maintenance.forget import DropData, data_of, remove_data
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import KEY, DropStore

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
            context.log.info(
                f"and {counted(len(lines) - LOGGED, 'more line')}; `virnucpro cleanup` lists all"
            )
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


def forget_drop(
    instance: dg.DagsterInstance, settings: Settings, drop: str, *, delete: bool = False
) -> Iterator[str]:
    """What of a drop goes and what stays, a line each; with `delete` it is removed.

    Raises InputError if there is no such drop, BusyError if a run or a command works on it or is about to.
    """
    fail_dead_runs(instance)
    is_partition = instance.has_dynamic_partition(DROPS, drop)
    # A partition that was added by hand can have a name that no drop can have: it has no data then.
    is_key = KEY.fullmatch(drop) is not None
    data = data_of(drop, settings) if is_key else None
    if data is None and not is_partition:
        raise no_such_drop(drop, DropStore(settings.data_root).keys())
    with ExitStack() as held:
        if is_key:
            held.enter_context(registration_lock_now(drop, settings))
        if work := drops_at_work(instance).get(drop):
            raise BusyError(f"drop {drop}: found that {work}; expected no work on it. Wait, or end that run.")
        if delete:
            # The partition first: without it nobody asks for more work on the drop.
            forget_partition(instance, drop)
            if data:
                remove_data(drop, settings)
    verb, place = "removed" if delete else "would remove", settings.drops_folder.absolute()
    yield from _lines(data, verb, drop if is_partition else "", place)
    if runs := _runs_of(instance, settings, drop):
        first = ", ".join(runs[:5]) + (", …" if len(runs) > 5 else "")
        yield (
            f"stays in the run history: {counted(len(runs), 'run')} with all events ({first}); "
            "`dagster run delete RUN_ID` removes one"
        )
    if not delete:
        yield "nothing was removed (--delete does it)"


def forget_partition(instance: dg.DagsterInstance, drop: str) -> None:
    """Delete the partition of a drop, if there is one."""
    if instance.has_dynamic_partition(DROPS, drop):
        instance.delete_dynamic_partition(DROPS, drop)


def _runs_of(instance: dg.DagsterInstance, settings: Settings, drop: str) -> list[str]:
    """The runs that were to make something of a drop and are still on record, the oldest first."""
    partitions, found = Partitions(settings.ranks), dict[str, float]()
    for asset in ASSETS:
        records = planned(instance, asset, partitions.of_asset(asset, drop))
        found |= {record.run_id: record.timestamp for record in records}
    return sorted(found, key=lambda run: found[run])


def _lines(data: DropData | None, verb: str, partition: str, drops_folder: Path) -> Iterator[str]:
    if data:
        generations = counted(data.generations, "generation")
        yield f"{verb}: {data.folder.absolute()}, {generations}, {readable_size(data.size)}"
    if partition:
        yield f"{verb}: partition {partition} of {DROPS}"
    for path in dict.fromkeys((*data.reads, *data.foreign)) if data else ():
        is_delivery = path.is_relative_to(drops_folder)
        yield f"stays: {path}" + (
            ", a delivery: `virnucpro drops --missing` lists it again" if is_delivery else ""
        )
