"""Runs that belong to a process, and what becomes of them if it is killed.

A code server watches the processes of its runs, but not when it is killed with them, and nobody
watches a run of the command line. So each run carries the identity of its process as a tag, and
the next command, or the next tick of the sensor `new_drops`, can tell that a run which still
counts as going on has nobody left to do it.

Dagster copies the tags of a run to its retries and repeats. So a mark counts only for the run that it was made
for: that of a worker names the run, and a run that repeats another one is never a command's.
"""

import os
import socket
from pathlib import Path

import dagster as dg

from virnucpro_assets.defs.records import PARENT_RUN
from virnucpro_assets.settings import Settings

TAG = "virnucpro/process"
"""The process of a run of the command line."""
COMMAND = "virnucpro/command"
"""Whether a command goes on with what a run makes: `yes` or, of a repeat of such a run, `no`."""
WORKER = ".dagster/virnucpro_worker"
"""A run that the daemon launched, and its process; the UI does not show tags that begin so."""
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def this_process() -> str:
    """Host, number and start time of this process: a number alone is used again."""
    return _identity(os.getpid()) or ""


def is_of_a_command(run: dg.DagsterRun) -> bool:
    """Whether a command of the command line made a run; a retry or a repeat of it is not."""
    return TAG in run.tags and PARENT_RUN not in run.tags


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs whose process on this host has ended; returns their ids."""
    failed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=GOING_ON)):
        process = _process_of(run)
        host, _, rest = process.partition(" ")
        if host == socket.gethostname() and _identity(int(rest.split()[0])) != process:
            instance.report_run_failed(run, f"The process of this run ended without a word ({process}).")
            failed.append(run.run_id)
    return failed


def mark_worker(context: dg.AssetExecutionContext | dg.OpExecutionContext, settings: Settings) -> None:
    """Tag the run of a step with the process that it runs in, if it is no run of the command line.

    On a cluster a step is a process of its own, with which its run does not end.
    """
    run = context.run
    if is_of_a_command(run):
        return
    tags = {COMMAND: "no"} if COMMAND in run.tags else {}
    if settings.executor == "in_process":
        tags[WORKER] = f"{run.run_id} {this_process()}"
    if tags:
        context.instance.add_run_tags(run.run_id, tags)


def _process_of(run: dg.DagsterRun) -> str:
    """The process that works on a run, as it is marked; empty if it is not marked yet."""
    if is_of_a_command(run):
        return run.tags[TAG]
    run_id, _, process = run.tags.get(WORKER, "").partition(" ")
    return process if run_id == run.run_id else ""


def _identity(pid: int) -> str | None:
    """The identity of a running process of this host, or None if there is none of this number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    started_in_clock_ticks = fields[19]
    return f"{socket.gethostname()} {pid} {started_in_clock_ticks}"
