"""Runs that belong to a process, and what becomes of them if it is killed.

A code server watches the processes of its runs, but not when it is killed with them, and nobody
watches a run of the command line. So each run carries the identity of its process as a tag, and
the next command, or the next tick of the sensor `new_drops`, can tell that a run which still
counts as going on has nobody left to do it.
"""

import os
import socket
from pathlib import Path

import dagster as dg

from virnucpro_assets.settings import Settings

TAG = "virnucpro/process"
"""The process of a run of the command line."""
WORKER = ".dagster/virnucpro_worker"
"""The process of a run that the daemon launched; the UI does not show tags that begin so."""
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def this_process() -> str:
    """Host, number and start time of this process: a number alone is used again."""
    return _identity(os.getpid()) or ""


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs whose process on this host has ended; returns their ids."""
    failed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=GOING_ON)):
        process = run.tags.get(TAG) or run.tags.get(WORKER, "")
        host, _, rest = process.partition(" ")
        if host == socket.gethostname() and _identity(int(rest.split()[0])) != process:
            instance.report_run_failed(run, f"The process of this run ended without a word ({process}).")
            failed.append(run.run_id)
    return failed


def mark_worker(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Tag the run of a step with the process that it runs in, if it is no run of the command line.

    On a cluster a step is a process of its own, with which its run does not end.
    """
    if TAG not in context.run.tags and settings.executor == "in_process":
        context.instance.add_run_tags(context.run.run_id, {WORKER: this_process()})


def _identity(pid: int) -> str | None:
    """The identity of a running process of this host, or None if there is none of this number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    started_in_clock_ticks = fields[19]
    return f"{socket.gethostname()} {pid} {started_in_clock_ticks}"
