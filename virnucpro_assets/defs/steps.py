"""What every step does: it marks its run with the drop and the process, and ends with one clear line.

A step of one drop finds out here which drop that is, which of its assets it makes, and runs the checks of each.

A code server watches the processes of its runs, but not if it is killed with them, and a run of the command line is
not watched at all. So each run is tagged with the identity of its process. The next command, or the next tick of the
sensor `new_drops`, then finds the runs that count as started but whose process has ended. Dagster copies the tags of a
run to its retries and re-executions, so the tag also has the id of the run for which it was made.

A step requests its retry itself. With a retry policy Dagster would take a cancellation for a failure, and run the rest
of a cancelled run.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, record_check, require_pass
from virnucpro_assets.defs.failures import Error, exit_code_of, failure_of
from virnucpro_assets.defs.records import Event, check_result, evaluation, latest_record
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import DeviceError, VirnucproError
from virnucpro_assets.settings import Settings

DROP, PROCESS = "virnucpro/drop", "virnucpro/process"
"""The drop of a run, by which people look for it; and the run's id with its process."""
UNFINISHED = [
    # A command can be killed between the creation of its run and its start.
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Context = dg.AssetExecutionContext | dg.OpExecutionContext


def mark_run(context: Context, settings: Settings, drop: str = "") -> None:
    """Tag the run of a step with its drop and its process.

    On a cluster a step is a process of its own, with which its run does not end.
    """
    tags = {DROP: drop} if drop else {}
    if settings.executor == "in_process":
        tags[PROCESS] = f"{context.run.run_id} {this_process()}"
    if tags:
        context.instance.add_run_tags(context.run.run_id, tags)


def this_process() -> str:
    """Host, number and start time of this process: a number alone is used again."""
    return _identity(os.getpid()) or ""


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs whose process on this host has ended; returns their ids."""
    failed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        run_id, _, process = run.tags.get(PROCESS, "").partition(" ")
        host, _, rest = process.partition(" ")
        is_here = run_id == run.run_id and host == _host()
        if is_here and _identity(int(rest.split()[0])) != process:
            instance.report_run_failed(run, f"The process of this run exited unexpectedly ({process}).")
            failed.append(run_id)
    return failed


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn a VirnucproError or OSError of the block into a failed step with its line as description."""
    try:
        yield
    except (VirnucproError, OSError) as error:
        raise failure_of([("", error)]) from error


@contextmanager
def step_of(context: Context, settings: Settings, drop: str) -> Iterator[list[tuple[str, Error]]]:
    """Mark the run of a step, and end it with the errors of its drops: that of the block, and those put into the list.

    The step is tried again if each error may go away: those of a device or of another run that is at work. A wrong
    file stays wrong.
    """
    mark_run(context, settings, drop)
    errors: list[tuple[str, Error]] = []
    try:
        yield errors
    except (VirnucproError, OSError) as error:
        errors.append((drop, error))
    if not errors:
        return
    failure = failure_of(errors)
    failure.__cause__ = errors[0][1]
    if settings.step_retries and {exit_code_of(error) for _, error in errors} == {DeviceError.exit_code}:
        raise dg.RetryRequested(
            max_retries=settings.step_retries,
            seconds_to_wait=settings.step_retry_seconds * 2**context.retry_number,
        ) from failure
    raise failure


def drop_of(context: dg.AssetExecutionContext) -> str:
    """The drop of a run. "Execute all" on the checks of an asset names none: then the one made last of it."""
    if context.has_partition_key:
        return str(context.partition_key)
    assets = sorted({check.asset_key.to_user_string() for check in context.selected_asset_check_keys})
    latest = latest_record(context.instance, assets[0], None) if assets else None
    if latest is None or latest.partition_key is None or context.has_partition_key_range:
        raise dg.Failure(
            "this run: found no single drop; expected the partition of one. Choose partitions with Materialize, "
            "or run `virnucpro checks DROP`.",
            allow_retries=False,
        )
    context.log.info(f"no drop was chosen: the checks run on {latest.partition_key}, which was made last")
    return latest.partition_key


def is_selected(context: dg.AssetExecutionContext, asset: str) -> bool:
    """Whether a run is to make an asset."""
    return dg.AssetKey(asset) in context.selected_asset_keys


def checked(
    context: dg.AssetExecutionContext,
    work: DropWork,
    asset: str,
    check: Callable[[], Iterable[CheckResult]],
) -> Iterator[Event]:
    """Run and record the checks of an asset that are asked for; CheckError if one holds back what follows."""
    wanted = {key.name for key in context.selected_asset_check_keys if key.asset_key == dg.AssetKey(asset)}
    if not wanted:
        return
    results = [record_check(work.folder.checks, result) for result in check()]
    for result in results:
        if result.name in wanted:
            # Dagster looks for the partition of a result; a run without one records the evaluation alone.
            if context.has_partition_key:
                yield check_result(result)
            else:
                yield evaluation(context.instance, work.drop.key, result)
    for result in results:
        require_pass(work.drop.key, result)


def _identity(pid: int) -> str | None:
    """The identity of a running process of this host, or None if there is none of this number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    started_in_clock_ticks = fields[19]
    return f"{_host()} {pid} {started_in_clock_ticks}"


def _host() -> str:
    """The name of this host, and its name space of processes: containers can share a name, and all have a process 1."""
    name_space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{name_space.readlink() if name_space.is_symlink() else 'unknown'}"
