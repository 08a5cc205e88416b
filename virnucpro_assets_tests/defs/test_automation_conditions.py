"""What automation asks for, tick by tick, on an instance whose events the test writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.asset_backfill import AssetBackfillData

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.defs.process_runs import COMMAND
from virnucpro_assets.defs.records import evaluation
from virnucpro_assets.defs.standing import BEFORE
from virnucpro_assets.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta:dagster_shared.utils.warnings.BetaWarning")

ASSETS = (*BEFORE, *EMBEDDINGS, *AFTER_EMBEDDINGS)
PARTITIONS = Partitions(2)


@dataclass
class Automation:
    """The conditions of all assets, and what they have seen."""

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursor: Any = None

    def tick(self) -> dict[str, set[str]]:
        """What is asked for now, by asset."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        asked = {
            asset: result.get_requested_partitions(dg.AssetKey(asset)) for asset in (*ASSETS, "classifier")
        }
        return {asset: {str(key) for key in keys} for asset, keys in asked.items() if keys}

    def add(self, *drops: str) -> None:
        self.instance.add_dynamic_partitions(DROPS, drops)

    def made(self, *assets: str, drop: str, tags: dict[str, str] | None = None) -> None:
        """Record assets of a drop as materialised by a run with these tags."""

        @dg.op
        def record() -> Iterator[Any]:
            for asset in assets:
                for key in PARTITIONS.of_asset(asset, drop) or [None]:
                    yield dg.AssetMaterialization(asset, partition=key)
            yield dg.Output(None)

        @dg.job
        def recording() -> None:
            record()

        assert recording.execute_in_process(instance=self.instance, tags=tags).success

    def roots_of_the_backfill(self) -> dict[str, set[str]]:
        """What the backfill daemon begins with when all is asked for at once that is asked for now."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        with partition_loading_context(dynamic_partitions_store=self.instance):
            view = AssetGraphView.for_test(self.definitions, self.instance)
            asked = AssetGraphSubset.from_entity_subsets([one.true_subset for one in result.results])
            backfill = AssetBackfillData.empty(asked, 0, self.instance)
            roots = backfill.get_target_root_asset_graph_subset(view)
            return {
                subset.key.path[0]: set(subset.expensively_compute_partition_keys())
                for subset in view.iterate_asset_subsets(roots)
            }


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings(ranks=2))


@pytest.fixture
def automation(definitions) -> Iterator[Automation]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Automation(instance, definitions)


@pytest.fixture
def running(automation) -> Automation:
    """Automation that has ticked once, with a finished drop `old` and the classifier."""
    automation.add("old")
    automation.made("classifier", *ASSETS, drop="old")
    assert automation.tick() == {}
    return automation


def by_drop(*assets: str) -> dict[str, set[str]]:
    return {asset: {"new"} for asset in assets}


def test_each_part_of_a_new_drop_is_asked_for_once_and_in_order(running: Automation) -> None:
    running.add("new")

    assert running.tick() == by_drop(*BEFORE)
    assert running.tick() == {}
    running.made(*BEFORE, drop="new")
    assert running.tick() == {asset: {"new|0", "new|1"} for asset in EMBEDDINGS}
    assert running.tick() == {}
    running.made("esm2_embeddings", drop="new")
    assert running.tick() == {}
    running.made("dnabert_s_embeddings", drop="new")
    assert running.tick() == by_drop(*AFTER_EMBEDDINGS)
    running.made(*AFTER_EMBEDDINGS, drop="new")
    assert [running.tick() for _ in range(3)] == [{}] * 3


def test_nothing_is_asked_for_of_what_a_blocking_check_refused(running: Automation) -> None:
    running.add("new")
    running.tick()
    running.made(*BEFORE, *EMBEDDINGS, "merged_embeddings", drop="new")
    check = CheckResult(asset="merged_embeddings", name="completeness", passed=False, threshold="whole")

    running.instance.report_runless_asset_event(evaluation(running.instance, "new", check))

    assert [running.tick() for _ in range(3)] == [{}] * 3


@pytest.mark.slow
def test_drops_that_wait_together_and_become_ready_together_make_a_backfill_that_can_begin(
    running: Automation,
) -> None:
    running.add("new", "newer")
    running.tick()
    for drop in ("new", "newer"):
        running.made(*BEFORE, *EMBEDDINGS, drop=drop)

    assert running.roots_of_the_backfill() == {"merged_embeddings": {"new", "newer"}}


@pytest.mark.parametrize(
    "asset",
    [
        "classifier",
        *(
            pytest.param(asset, marks=pytest.mark.slow)
            for asset in ("sequence_drop", "sequence_index", "esm2_embeddings")
        ),
    ],
)
def test_what_is_made_anew_asks_for_nothing(running: Automation, asset: str) -> None:
    running.made(asset, drop="old")

    assert [running.tick() for _ in range(2)] == [{}] * 2


def test_drops_that_are_there_before_the_first_tick_are_left_alone(automation: Automation) -> None:
    automation.add("early")

    asked = automation.tick()

    assert set(asked) <= {"classifier"}


def test_the_classifier_is_asked_for_until_it_is_there(automation: Automation) -> None:
    assert [set(automation.tick()) for _ in range(2)] == [{"classifier"}] * 2
    automation.made("classifier", drop="any")
    assert automation.tick() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tags", "asked"),
    [({COMMAND: "yes"}, set()), ({COMMAND: "no"}, set(EMBEDDINGS)), ({}, set(EMBEDDINGS))],
    ids=["of a command", "a repeat of a command's", "of the daemon"],
)
def test_what_a_command_began_is_left_to_the_command(running: Automation, tags, asked) -> None:
    running.add("new")
    running.tick()

    running.made(*BEFORE, drop="new", tags=tags)

    assert set(running.tick()) == asked
    assert running.tick() == {}
