"""How a mistake that a person can mend ends a step."""

import dagster as dg
import pytest

from virnucpro_assets.defs.failures import DropFailures, mendable
from virnucpro_assets.errors import BusyError, DeviceError, InputError, IntegrityError
from virnucpro_assets.settings import Settings


def test_a_mistake_becomes_a_failure_with_its_line_its_exit_code_and_no_retry():
    error = InputError("reads.fq", found="nothing", expected="reads", advice="Look again.")

    with pytest.raises(dg.Failure) as caught, mendable():
        raise error

    assert caught.value.description == str(error)
    assert caught.value.metadata["exit_code"].value == 2
    assert caught.value.allow_retries is False


def test_a_file_that_the_system_refuses_becomes_a_failure_with_one_line(tmp_path):
    with pytest.raises(dg.Failure) as caught, mendable():
        (tmp_path / "none").open()
    assert caught.value.description == (
        f"{tmp_path / 'none'}: found No such file or directory. "
        "Check the path, who may use it, and the space on its disk."
    )
    with pytest.raises(dg.Failure, match="a file: found no such view"), mendable():
        raise OSError("no such view")


def test_a_bug_is_left_as_it_is():
    with pytest.raises(ZeroDivisionError), mendable():
        raise ZeroDivisionError


def ended_with(settings: Settings, error: Exception) -> tuple[dg.ExecuteInProcessResult, int]:
    """A step of two drops, one of which failed with `error`; its result and how often it was tried."""
    tries = []

    @dg.asset
    def step(context: dg.AssetExecutionContext) -> None:
        tries.append(1)
        failures = DropFailures(drops=2)
        failures.add("one", error)
        failures.end_or_retry(context, settings)

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
    assert failure.description == f"drop one: {error}"
    assert failure.metadata["exit_code"].value == error.exit_code


def test_a_failed_step_is_not_retried_even_where_a_policy_asks_for_it():
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
    def wrong():
        tries.append(1)
        with mendable():
            raise InputError("reads.fq", found="nothing", expected="reads", advice="Look again.")

    with dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize([wrong], instance=instance, raise_on_error=False).success
    assert len(tries) == 1
