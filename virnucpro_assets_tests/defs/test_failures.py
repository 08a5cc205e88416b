"""How a mistake that a person can mend ends a step."""

import dagster as dg
import pytest

from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.errors import InputError


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
