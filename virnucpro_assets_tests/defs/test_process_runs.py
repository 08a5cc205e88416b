"""Runs whose process ended are marked as failed, and no others, whatever tags a retry inherits."""

import subprocess
import sys

import dagster as dg
import pytest

from virnucpro_assets.defs.process_runs import (
    COMMAND,
    TAG,
    WORKER,
    fail_dead_runs,
    is_of_a_command,
    mark_worker,
    this_process,
)
from virnucpro_assets.settings import Settings

PARENT = "dagster/parent_run_id"
IDENTITY = "from virnucpro_assets.defs.process_runs import this_process; print(this_process())"


@pytest.fixture(scope="module")
def ended() -> str:
    """The identity of a process that is no more."""
    return subprocess.check_output([sys.executable, "-c", IDENTITY], text=True).strip()


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    mark_worker(context, Settings())


@dg.job
def job() -> None:
    work()


def going_on(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)


def test_a_run_of_a_process_that_ended_is_failed_and_its_live_retry_is_not(ended: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dead = going_on(instance, **{TAG: ended})
        worker = going_on(instance)
        instance.add_run_tags(worker.run_id, {WORKER: f"{worker.run_id} {ended}"})
        tags = instance.get_run_by_id(worker.run_id).tags
        retry = going_on(instance, **tags, **{PARENT: worker.run_id, "dagster/retry_number": "1"})
        repeat = going_on(instance, **dead.tags, **{PARENT: dead.run_id})
        live = going_on(instance, **{TAG: this_process()})

        assert sorted(fail_dead_runs(instance)) == sorted([dead.run_id, worker.run_id])

        failed = {run.run_id for run in instance.get_runs() if run.status == dg.DagsterRunStatus.FAILURE}
        assert failed.isdisjoint({retry.run_id, repeat.run_id, live.run_id})
        assert fail_dead_runs(instance) == []


def test_a_retry_is_watched_by_its_own_process_from_its_first_step_on(ended: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        parent = going_on(instance, **{TAG: ended, COMMAND: "yes"})
        inherited = {**parent.tags, WORKER: f"{parent.run_id} {ended}", PARENT: parent.run_id}

        done = job.execute_in_process(instance=instance, tags=inherited)

        run = instance.get_run_by_id(done.run_id)
        assert run.tags[WORKER] == f"{run.run_id} {this_process()}"
        assert (run.tags[COMMAND], is_of_a_command(run), is_of_a_command(parent)) == ("no", False, True)
        again = going_on(instance, **run.tags | {WORKER: f"{run.run_id} {ended}"})
        assert fail_dead_runs(instance) == [parent.run_id]
        instance.add_run_tags(again.run_id, {WORKER: f"{again.run_id} {ended}"})
        assert fail_dead_runs(instance) == [again.run_id]
