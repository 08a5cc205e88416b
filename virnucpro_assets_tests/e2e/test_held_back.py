"""A drop that a blocking check holds back is held back whoever asks for what follows."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs.partitions import OF_CALL, Partitions
from virnucpro_assets.defs.statuses import Statuses, Todo
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.e2e.test_retry_command import virnucpro

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*is in beta:dagster_shared.utils.warnings.BetaWarning"),
]

AFTER = ("virus_calls", "drop_report")
NOTHING: dict[str, list[str]] = {asset: [] for asset in AFTER}
UNREACHABLE = {"VIRNUCPRO_MIN_COSINE": "1.5"}


class Held:
    """A deployment with a drop whose precision check failed, and the run in which it did."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.settings = deployment.settings(min_cosine=1.5)
        deployment.deliver("held", 4)
        assert deployment.run("index_drop", "held", settings=self.settings).success
        assert deployment.run("embed_drop", "held", ranks=(0, 3), settings=self.settings).success
        self.run = self.call()

    def call(self, **how: Any) -> dg.ExecuteInProcessResult:
        return self.deployment.run("call_drop", "held", **{"settings": self.settings} | how)

    def retry_of(self, run: dg.DagsterRun) -> dg.ExecuteInProcessResult:
        """What the daemon does with a run whose process died."""
        return self.call(tags={"dagster/retry_number": "1", "dagster/parent_run_id": run.run_id})


@pytest.fixture(scope="module")
def held(new_deployment: Callable[[], Deployment]) -> Held:
    return Held(new_deployment())


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


def test_no_run_makes_calls_of_predictions_that_a_check_refused(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The extra of the cluster need not be installed: its steps call the same functions.
    monkeypatch.setattr("virnucpro_assets.defs.build.executor", lambda _: dg.in_process_executor)
    on_a_cluster = held.settings.model_copy(update={"executor": "ray"})
    results = {
        "job": held.run,
        "automatic retry": held.retry_of(held.run.dagster_run),
        "calls alone, as from the UI": held.call(selection=AFTER),
        "report alone": held.call(selection=["drop_report"]),
        "on a cluster": held.call(selection=AFTER, settings=on_a_cluster),
    }

    assert {name: result.success for name, result in results.items()} == dict.fromkeys(results, False)
    refused = {name for name, result in results.items() if "drop held are held back" in reason(result)}
    assert refused == results.keys() - {"report alone"}
    assert held.deployment.made(*AFTER) == NOTHING


def test_the_schedule_for_what_failed_asks_for_what_is_held_back_too(held: Held) -> None:
    with held.deployment.instance() as instance:
        statuses = Statuses.of(instance, Partitions(4))

    assert statuses.failed("held", held.settings) == Todo(index=False, ranks={}, call=OF_CALL[1:])


@pytest.mark.slow
def test_the_command_runs_the_check_again_and_goes_on_only_if_it_passes(held: Held) -> None:
    refused = virnucpro(held.deployment, "retry", "held", **UNREACHABLE)

    assert (refused.returncode, held.deployment.made(*AFTER)) == (5, NOTHING), refused.stderr
    assert "held: check precision_in_use_matches_float32 of predictions" in refused.stdout

    done = virnucpro(held.deployment, "retry", "held")

    assert (done.returncode, done.stdout) == (0, "held: done\n"), done.stderr
    assert held.deployment.made(*AFTER) == {asset: ["held"] for asset in AFTER}
