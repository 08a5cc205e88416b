"""What a failed step leaves in the event log, and what is read of it."""

import dagster as dg
import pytest

from virnucpro_assets.defs.failures import (
    exit_code_of_run,
    failure_of,
    failures_of,
    message_of_run,
)
from virnucpro_assets.errors import DeviceError, InputError, IntegrityError

WRONG = InputError("a", found="x", expected="y\nz", advice="Look.")
WHOLE = "a: found x; expected y\nz. Look."


def test_errors_are_told_by_drop_each_line_once() -> None:
    both = [DeviceError("no GPU"), IntegrityError("a", found="damage", expected="none", advice="")]
    failure = failure_of([("one", both[0]), ("one", both[0]), ("two", both[1])])
    assert failure.description == f"drop one: no GPU; drop two: {both[1]}"
    assert failure.metadata["drops"].value == {"one": "no GPU", "two": str(both[1])}
    assert failure.metadata["exit_codes"].value == {"one": 4, "two": IntegrityError.exit_code}


@pytest.mark.parametrize(
    ("error", "message", "reason", "code"),
    [
        (failure_of([("d", WRONG)]), WHOLE, WHOLE, 2),
        (failure_of([("", WRONG)]), WHOLE, WHOLE, 2),
        (dg.Failure("one\ntwo"), "one\ntwo", "one", 1),
        (
            ZeroDivisionError("one\ntwo"),
            "run {}, step step: ZeroDivisionError: one\ntwo",
            "ZeroDivisionError: one",
            1,
        ),
    ],
)
def test_a_step_tells_its_line_whole_and_an_error_that_it_did_not_expect_by_its_message(
    error: Exception, message: str, reason: str, code: int
) -> None:
    @dg.op
    def step() -> None:
        raise error

    @dg.job
    def job() -> None:
        step()

    with dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance, raise_on_error=False).dagster_run
        assert message_of_run(instance, run) == message.format(run.run_id)
        (entry,) = failures_of(instance, run, "otherwise")
        assert entry.reason == reason
        assert exit_code_of_run(instance, run, "d") == code
