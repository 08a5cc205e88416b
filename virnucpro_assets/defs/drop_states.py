"""What Dagster has on record of each drop, and the states of all drops as lines of a table."""

from collections.abc import Iterator, Mapping

import dagster as dg

from virnucpro_assets.defs.alerts import exit_code_of, failures_of
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.statuses import FAILED, Statuses, Work, drops_at_work
from virnucpro_assets.defs.steps import fail_dead_runs
from virnucpro_assets.errors import InputError
from virnucpro_assets.reports.drop_state import DropState, OnRecord, state_of, state_on_disk
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore


def drop_states(instance: dg.DagsterInstance, settings: Settings) -> dict[str, DropState]:
    """The state of every drop, by name."""
    records = records_of(instance, settings)
    return {
        drop: state_of(state_on_disk(drop, settings), records.get(drop, OnRecord()))
        for drop in sorted({*records, *DropStore(settings.data_root).keys()})
    }


def lines_of(states: Mapping[str, DropState]) -> Iterator[str]:
    """A header, then a line a drop: its name, its state and the reason, in columns."""
    rows = [("drop", "state", "why"), *((drop, one.state, one.reason) for drop, one in states.items())]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    for drop, state, why in rows:
        yield f"{drop.ljust(widths[0])}  {state.ljust(widths[1])}  {why}".rstrip()


def state_of_drop(instance: dg.DagsterInstance, settings: Settings, drop: str) -> DropState:
    """The state of one drop; InputError if there is none of this name."""
    records = records_of(instance, settings)
    if drop not in records and DropStore(settings.data_root).source(drop) is None:
        raise InputError(
            f"drop {drop}",
            found="no such drop",
            expected="a drop that `virnucpro drops` shows",
            advice=f"Check the name, or run `virnucpro materialize {drop}`.",
        )
    return state_of(state_on_disk(drop, settings), records.get(drop, OnRecord()))


def records_of(instance: dg.DagsterInstance, settings: Settings) -> dict[str, OnRecord]:
    """What is on record of each drop that has a partition. Runs whose process was killed are marked as failed first."""
    fail_dead_runs(instance)
    statuses, at_work = Statuses.of(instance, Partitions(settings.ranks)), drops_at_work(instance)
    found = {}
    for drop in statuses.drops:
        if drop in at_work:
            found[drop] = OnRecord(running=at_work[drop])
        elif failed := statuses.having(drop, FAILED):
            found[drop] = _last_failure(instance, drop, failed)
        else:
            found[drop] = OnRecord()
    return found


def _last_failure(instance: dg.DagsterInstance, drop: str, failed: Work) -> OnRecord:
    """How the last of the runs ended that were to make the failed partitions of a drop."""
    planned = [
        record
        for asset, keys in failed.items()
        for record in instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                asset_key=dg.AssetKey(asset),
                asset_partitions=sorted(keys),
            ),
            limit=1,
        )
    ]
    run_id = max(planned, key=lambda record: record.storage_id).run_id
    run = instance.get_run_by_id(run_id)
    if run is None:
        return OnRecord(failed=f"run {run_id}, which is no longer on record")
    ends = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    event = ends[-1].event_log_entry.dagster_event if ends else None
    failures = failures_of(instance, run, (event and event.message) or "")
    # A backfill of the UI may have several drops in a run.
    failure = next((one for one in failures if one.drop == drop), failures[0])
    return OnRecord(failed=f"{failure.reason} (run {run_id})", exit_code=exit_code_of(instance, run, drop))
