"""How an error that a person can fix ends a step, and which runs are marked as failed."""

import socket
import subprocess
import sys

import dagster as dg
import pytest

from virnucpro_assets.defs.steps import (
    DROP,
    PROCESS,
    clear_failures,
    fail_dead_runs,
    mark_run,
    step_of,
    this_process,
)
from virnucpro_assets.errors import BusyError, DeviceError, InputError, IntegrityError
from virnucpro_assets.settings import Settings


def test_a_mistake_becomes_a_failure_with_its_line_its_exit_code_and_no_retry():
    error = InputError("reads.fq", found="nothing", expected="reads", advice="Look again.")

    with pytest.raises(dg.Failure) as caught, clear_failures():
        raise error

    assert caught.value.description == str(error)
    assert caught.value.metadata["exit_code"].value == 2
    assert caught.value.allow_retries is False


def test_a_file_that_the_system_refuses_becomes_a_failure_with_one_line(tmp_path):
    with pytest.raises(dg.Failure) as caught, clear_failures():
        (tmp_path / "none").open()
    assert caught.value.description == (
        f"{tmp_path / 'none'}: found No such file or directory. "
        "Check the path, who may use it, and the space on its disk."
    )
    with pytest.raises(dg.Failure, match="a file: found no such view"), clear_failures():
        raise OSError("no such view")


def test_a_bug_is_left_as_it_is():
    with pytest.raises(ZeroDivisionError), clear_failures():
        raise ZeroDivisionError


def ended_with(settings: Settings, error: Exception) -> tuple[dg.ExecuteInProcessResult, int]:
    """A step whose drop failed with `error`; its result and how often it was tried."""
    tries = []

    @dg.asset
    def step(context: dg.AssetExecutionContext) -> None:
        tries.append(1)
        with step_of(context, settings, "one"):
            raise error

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([step], instance=instance, raise_on_error=False), len(tries)


@pytest.mark.parametrize(
    ("error", "retries", "tries"),
    [
        (DeviceError("no device"), 2, 3),
        (BusyError("held by another"), 2, 3),
        (DeviceError("no device"), 0, 1),
        (IntegrityError("a", found="damage", expected="none", advice=""), 2, 1),
    ],
)
def test_a_step_is_tried_again_only_for_want_of_a_device_or_a_lock(error, retries, tries):
    settings = Settings(step_retries=retries, step_retry_seconds=0)
    result, tried = ended_with(settings, error)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert tried == tries
    assert failure.description == str(error)
    assert failure.metadata["drops"].value == {"one": str(error)}
    assert failure.metadata["exit_code"].value == error.exit_code


def test_a_failed_step_is_not_retried_even_where_a_policy_asks_for_it():
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
    def wrong():
        tries.append(1)
        with clear_failures():
            raise InputError("reads.fq", found="nothing", expected="reads", advice="Look again.")

    with dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize([wrong], instance=instance, raise_on_error=False).success
    assert len(tries) == 1


IDENTITY = "from virnucpro_assets.defs.steps import this_process; print(this_process())"


@pytest.fixture(scope="module")
def ended() -> str:
    """The identity of a process that is no more."""
    return subprocess.check_output([sys.executable, "-c", IDENTITY], text=True).strip()


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    mark_run(context, Settings(), "d")


@dg.job
def job() -> None:
    work()


def started(instance: dg.DagsterInstance, process: str, **tags: str) -> dg.DagsterRun:
    """A run that counts as started, marked with a process."""
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run_tags(run.run_id, {PROCESS: f"{run.run_id} {process}"})
    return run


def test_a_run_of_a_process_that_ended_is_failed_and_its_live_retry_is_not(ended: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dead, live = started(instance, ended), started(instance, this_process())
        inherited = instance.get_run_by_id(dead.run_id).tags
        retry = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=inherited)

        assert fail_dead_runs(instance) == [dead.run_id]

        failed = {run.run_id for run in instance.get_runs() if run.status == dg.DagsterRunStatus.FAILURE}
        assert failed.isdisjoint({retry.run_id, live.run_id})
        assert fail_dead_runs(instance) == []


def test_a_run_whose_process_was_killed_before_its_start_is_failed(ended: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
        others = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
        instance.add_run_tags(run.run_id, {PROCESS: f"{run.run_id} {ended}"})

        assert fail_dead_runs(instance) == [run.run_id]

        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(others.run_id).status == dg.DagsterRunStatus.NOT_STARTED


def test_a_process_of_another_container_of_this_name_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        host, *rest = this_process().split()
        elsewhere = " ".join([host.replace("pid:[", "pid:[9"), *rest[:-1], "1"])
        assert elsewhere.partition("/")[0] == socket.gethostname()
        run = started(instance, elsewhere)
        assert fail_dead_runs(instance) == []
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED


def test_a_retry_is_watched_by_its_own_process_from_its_first_step_on(ended: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        parent = started(instance, ended)

        done = job.execute_in_process(instance=instance, tags=instance.get_run_by_id(parent.run_id).tags)

        run = instance.get_run_by_id(done.run_id)
        assert run.tags[PROCESS] == f"{run.run_id} {this_process()}"
        assert run.tags[DROP] == "d"
