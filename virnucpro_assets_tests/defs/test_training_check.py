"""The check of the last training, run by itself, and what an alert says of a run that failed by a bug."""

import dagster as dg
import pytest

from virnucpro_assets.defs.classifier import EVALUATION, training_check
from virnucpro_assets.defs.failures import failures_of


@pytest.mark.parametrize("in_use", [True, False])
def test_the_check_repeats_what_the_last_training_found(in_use: bool) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.AssetMaterialization(
            EVALUATION, metadata={"in_use": in_use, "verdict": "AUROC 0.9 against 0.8."}
        )
        instance.report_runless_asset_event(made)
        found = training_check()(dg.build_asset_check_context(instance=instance))
    assert isinstance(found, dg.AssetCheckResult)
    assert found.passed is in_use
    assert found.metadata["verdict"].value == "AUROC 0.9 against 0.8."


def test_the_check_of_no_training_fails_with_what_to_do() -> None:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(dg.Failure, match=r"classifier_evaluation: found none; expected one. Launch the job"),
    ):
        training_check()(dg.build_asset_check_context(instance=instance))


def test_a_run_that_failed_by_a_bug_and_is_about_no_drop_is_told_by_the_first_line_of_the_error() -> None:
    @dg.op
    def break_down() -> None:
        raise ValueError("the first line\nand another")

    @dg.job
    def broken() -> None:
        break_down()

    with dg.DagsterInstance.ephemeral() as instance:
        result = broken.execute_in_process(instance=instance, raise_on_error=False)
        (failure,) = failures_of(instance, result.dagster_run, "otherwise")
    assert (failure.drop, failure.ranks, failure.command) == ("", [], "see the log of the run")
    assert failure.reason == "ValueError: the first line"
