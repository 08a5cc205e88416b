"""Which drops a run is about, from its tags: it may be queued, and has no events then."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.defs.backfills import drops_in_backfills
from virnucpro_assets.defs.jobs import TRAINING_STEP
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.defs.runs import PARTITION, RANGE_END, RANGE_START
from virnucpro_assets.errors import InputError
from virnucpro_assets.training.labels import read_labels

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def drops_of(run: dg.DagsterRun, drops: Sequence[str]) -> list[str]:
    """The drops of a run; `drops` are all there are, in the order of their partitions."""
    if partition := run.tags.get(PARTITION):
        return [partition.split("|")[0]]
    first, last = (run.tags.get(tag, "").split("|")[0] for tag in (RANGE_START, RANGE_END))
    if first not in drops or last not in drops:
        return sorted({first, last} - {""})
    return list(drops[drops.index(first) : drops.index(last) + 1])


def drops_at_work(instance: dg.DagsterInstance) -> dict[str, str]:
    """The drops of all runs and backfills that are queued or going on, each with a line that names one of them.

    A training reads drops that its tags do not name; between two runs of a backfill there is no run.
    """
    drops = instance.get_dynamic_partitions(DROPS)
    at_work = dict.fromkeys(drops_in_backfills(instance), "a backfill that goes on is to work on it")
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        for drop in [*drops_of(run, drops), *_taught_from(run)]:
            at_work[drop] = f"run {run.run_id} of {run.job_name} is to work on it, or does"
    return at_work


def _taught_from(run: dg.DagsterRun) -> list[str]:
    """The drops that a training reads, from its configuration."""
    run_config: Mapping[str, Any] = run.run_config
    config = run_config.get("ops", {}).get(TRAINING_STEP, {}).get("config", {})
    drops = [*config.get("virus", []), *config.get("others", [])]
    if table := config.get("labels"):
        with suppress(InputError):
            # A table that cannot be read is reported by the training, which then reads no drop.
            drops += [one.drop for one in read_labels(Path(table))]
    return drops
