"""Runs that belong to a process of the command line, and what becomes of them if it is killed.

The orchestrator's daemon watches the runs that it starts itself. A run of the command line
carries the identity of its process as a tag, so that the next command can tell that a run
which still counts as going on has nobody left to do it.
"""

import os
import socket
from pathlib import Path

import dagster as dg

TAG = "virnucpro/process"
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def this_process() -> str:
    """Host, number and start time of this process: a number alone is used again."""
    return _identity(os.getpid()) or ""


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs whose process on this host has ended; returns their ids."""
    failed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=GOING_ON)):
        host, _, rest = run.tags.get(TAG, "").partition(" ")
        if host == socket.gethostname() and _identity(int(rest.split()[0])) != run.tags[TAG]:
            instance.report_run_failed(
                run, f"The process of this run ended without a word ({run.tags[TAG]})."
            )
            failed.append(run.run_id)
    return failed


def _identity(pid: int) -> str | None:
    """The identity of a running process of this host, or None if there is none of this number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    started_in_clock_ticks = fields[19]
    return f"{socket.gethostname()} {pid} {started_in_clock_ticks}"
