"""Which drops a run is about, from its tags: it may be queued, and has no events then."""

from collections.abc import Sequence

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.defs.runs import PARTITION, RANGE_END, RANGE_START

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
    """The drops of all runs that are queued or going on, each with a line that names the run."""
    drops = instance.get_dynamic_partitions(DROPS)
    return {
        drop: f"run {run.run_id} of {run.job_name} is to work on it, or does"
        for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        for drop in drops_of(run, drops)
    }
