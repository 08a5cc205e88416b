"""The states of drops: which of them Dagster works on, how they failed, and the table of all drops."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.defs.failures import exit_code_of_run, failures_of
from virnucpro_assets.defs.partitions import DROPS, TRAINING_STEP, Partitions, drop_and_rank, drops_of
from virnucpro_assets.defs.records import planned
from virnucpro_assets.defs.statuses import FAILED, KeysByAsset, Statuses
from virnucpro_assets.defs.steps import fail_dead_runs
from virnucpro_assets.drops.work import no_such_drop
from virnucpro_assets.errors import InputError
from virnucpro_assets.reports.drop_state import DropState, OnRecord, state_of, state_on_disk
from virnucpro_assets.reports.pages import table
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.training.labels import read_labels

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ACTIVE_BACKFILLS = {"REQUESTED", "CANCELING", "FAILING"}


def drop_states(instance: dg.DagsterInstance, settings: Settings) -> dict[str, DropState]:
    """The state of every drop, by name."""
    records = records_of(instance, settings)
    return {
        drop: state_of(state_on_disk(drop, settings), records.get(drop, OnRecord()))
        for drop in sorted({*records, *DropStore(settings.data_root).keys()})
    }


def lines_of(states: Mapping[str, DropState]) -> list[str]:
    """A header, then a line a drop: its name, its state and the reason, in columns."""
    return table(("drop", "state", "why"), [(drop, one.state, one.reason) for drop, one in states.items()])


def state_of_drop(instance: dg.DagsterInstance, settings: Settings, drop: str) -> DropState:
    """The state of one drop; InputError if there is none of this name."""
    records = records_of(instance, settings)
    if drop not in records and DropStore(settings.data_root).source(drop) is None:
        known = [*records, *DropStore(settings.data_root).keys()]
        raise no_such_drop(drop, known, f"Check the name, or run `virnucpro materialize {drop}`.")
    return state_of(state_on_disk(drop, settings), records.get(drop, OnRecord()))


def records_of(instance: dg.DagsterInstance, settings: Settings) -> dict[str, OnRecord]:
    """What Dagster knows of each drop that has a partition. Runs whose process has ended are marked as failed first."""
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


def _last_failure(instance: dg.DagsterInstance, drop: str, failed: KeysByAsset) -> OnRecord:
    """How the last of the runs ended that were to make the failed partitions of a drop."""
    tries = [
        record for asset, keys in failed.items() for record in planned(instance, asset, sorted(keys), limit=1)
    ]
    run_id = max(tries, key=lambda record: record.storage_id).run_id
    run = instance.get_run_by_id(run_id)
    if run is None:
        return OnRecord(failed=f"run {run_id}, which is no longer on record")
    ends = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    event = ends[-1].event_log_entry.dagster_event if ends else None
    failures = failures_of(instance, run, (event and event.message) or "")
    # A backfill of the UI may have several drops in a run.
    failure = next((one for one in failures if one.drop == drop), failures[0])
    return OnRecord(
        failed=f"{failure.reason} (run {run_id})", exit_code=exit_code_of_run(instance, run, drop)
    )


def drops_at_work(instance: dg.DagsterInstance) -> dict[str, str]:
    """The drops of all runs and backfills that are queued or going on, each with a line that names one of them.

    A training reads drops that its tags do not name; between two runs of a backfill there is no run.
    """
    drops = instance.get_dynamic_partitions(DROPS)
    at_work = dict.fromkeys(_drops_in_backfills(instance), "a backfill of it is queued or at work")
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        for drop in [*drops_of(run, drops), *_training_drops(run)]:
            at_work[drop] = f"run {run.run_id} of {run.job_name} is queued or at work"
    return at_work


def _drops_in_backfills(instance: dg.DagsterInstance) -> set[str]:
    """The drops that a backfill of the UI is about, whether it has launched runs of them or not."""
    drops = set()
    for backfill in instance.get_backfills():
        if backfill.status.value in ACTIVE_BACKFILLS and (data := backfill.asset_backfill_data):
            target = data.target_subset
            for asset in target.partitions_subsets_by_asset_key:
                keys = target.get_partitions_subset(asset).get_partition_keys()
                drops |= {drop_and_rank(key)[0] for key in keys}
    return drops


def _training_drops(run: dg.DagsterRun) -> list[str]:
    """The drops that a training reads, from its configuration."""
    run_config: Mapping[str, Any] = run.run_config
    config = run_config.get("ops", {}).get(TRAINING_STEP, {}).get("config", {})
    drops = [*config.get("virus", []), *config.get("others", [])]
    if table := config.get("labels"):
        with suppress(InputError):
            # A table that cannot be read is reported by the training, which then reads no drop.
            drops += [one.drop for one in read_labels(Path(table))]
    return drops
