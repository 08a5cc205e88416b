"""To forget a drop: its partition and its data go, its runs stay as the history of what was done."""

from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg

from virnucpro_assets.defs.partitions import ASSETS, DROPS, Partitions
from virnucpro_assets.defs.statuses import drops_at_work
from virnucpro_assets.defs.steps import fail_dead_runs
from virnucpro_assets.drops.disk_space import readable_size
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import BusyError, InputError
from virnucpro_assets.maintenance.forget import DropData, data_of, remove_data
from virnucpro_assets.reports.pages import counted
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import KEY


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
        raise InputError(
            f"drop {drop[:80]}",
            found="no such drop",
            expected="a drop that `virnucpro drops` shows",
            advice="Check the name.",
        )
    with ExitStack() as held:
        if is_key:
            refusing = settings.model_copy(update={"when_busy": "refuse"})
            held.enter_context(registration_lock(drop, refusing, lambda _: None))
        if work := drops_at_work(instance).get(drop):
            raise BusyError(f"drop {drop}: found that {work}; expected no work on it. Wait, or end that run.")
        if delete:
            # The partition first: without it nobody asks for more work on the drop.
            forget_partition(instance, drop)
            if data:
                remove_data(drop, settings)
    yield from _lines(data, "removed" if delete else "would remove", drop if is_partition else "")
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
        records = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                asset_key=dg.AssetKey(asset),
                asset_partitions=partitions.of_asset(asset, drop),
            )
        )
        found |= {record.run_id: record.timestamp for record in records}
    return sorted(found, key=lambda run: found[run])


def _lines(data: DropData | None, verb: str, partition: str) -> Iterator[str]:
    if data:
        generations = counted(data.generations, "generation")
        yield f"{verb}: {data.folder.absolute()}, {generations}, {readable_size(data.size)}"
    if partition:
        yield f"{verb}: partition {partition} of {DROPS}"
    for path in data.reads if data else ():
        yield f"stays: {path}"
