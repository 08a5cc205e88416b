"""What the sensor `next_runs` asks for, tick by tick, on an instance whose runs the test writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.next_runs import ASKED_BY, BACKFILL, COMMAND, NIGHTLY, RETRY, leave_note
from virnucpro_assets.defs.partitions import (
    CALL_DROP,
    DROPS,
    EMBED_DROP,
    INDEX_DROP,
    PARTITION,
    STAGES,
    Partitions,
    tags_of_ranks,
)
from virnucpro_assets.defs.statuses import Todo, whole
from virnucpro_assets.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta:dagster_shared.utils.warnings.BetaWarning")

PARTITIONS = Partitions(2)
WHOLE = {EMBED_DROP: tags_of_ranks("d", 0, 1), CALL_DROP: {PARTITION: "d"}}


@dataclass
class Follower:
    """The sensor as the daemon evaluates it: each tick goes on where the last one ended."""

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    cursor: str | None = None

    def tick(self) -> list[tuple[str | None, dict[str, str]]]:
        """The jobs that are asked for now, with the tags of their partitions."""
        return [
            (
                request.job_name,
                {k: v for k, v in request.tags.items() if k.startswith("dagster/asset_partition")}
                or {PARTITION: request.partition_key},
            )
            for request in self.requests()
        ]

    def requests(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, repository_def=self.repository)
        found: Any = self.repository.get_sensor_def("next_runs")(context)
        self.cursor = found.cursor
        return list(found.run_requests or [])

    def run(self, job: str, tags: dict[str, str], *, success: bool = True, **selection: Any) -> str:
        """A run of a job on drop `d` that records the ranks or partitions of its tags; its id."""

        @dg.op
        def record() -> Iterator[Any]:
            for asset in STAGES[job]:
                for key in PARTITIONS.of_asset(asset, "d"):
                    if job != EMBED_DROP or key in selection.get("keys", [key]):
                        yield dg.AssetMaterialization(asset, partition=key)
            if not success:
                raise dg.Failure("failed", allow_retries=False)
            yield dg.Output(None)

        @dg.job(name=job)
        def recording() -> None:
            record()

        done = recording.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)
        assert done.success is success
        return done.run_id


@pytest.fixture(scope="module")
def repositories() -> dict[bool, dg.RepositoryDefinition]:
    """The definitions with automation and without."""
    settings = {on: Settings(ranks=2, automation=on) for on in (True, False)}
    return {on: build_definitions(of).get_repository_def() for on, of in settings.items()}


@pytest.fixture
def follower(repositories: dict[bool, dg.RepositoryDefinition]) -> Iterator[Follower]:
    """With automation, after the first tick."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DROPS, ["d"])
        made = Follower(instance, repositories[True])
        assert made.tick() == []
        yield made


def test_a_run_that_follows_is_shown_as_launched_by_the_sensor(follower: Follower) -> None:
    follower.run(INDEX_DROP, {PARTITION: "d"})
    context = dg.build_sensor_context(
        follower.instance, cursor=follower.cursor, repository_def=follower.repository
    )
    # As the daemon evaluates it. A run without this tag is "Manually launched" in the UI.
    (request,) = follower.repository.get_sensor_def("next_runs").evaluate_tick(context).run_requests or []
    assert (request.job_name, request.tags["dagster/sensor_name"]) == (EMBED_DROP, "next_runs")
    assert follower.instance.get_backfills() == []


def test_each_run_that_succeeds_is_followed_once_by_the_next_of_its_drop(follower: Follower) -> None:
    follower.run(INDEX_DROP, {PARTITION: "d"})
    assert follower.tick() == [(EMBED_DROP, WHOLE[EMBED_DROP])]
    assert follower.tick() == []
    follower.run(EMBED_DROP, WHOLE[EMBED_DROP])
    assert follower.tick() == [(CALL_DROP, WHOLE[CALL_DROP])]
    follower.run(CALL_DROP, WHOLE[CALL_DROP])
    assert [follower.tick() for _ in range(2)] == [[], []]


def test_a_run_that_failed_is_not_followed(follower: Follower) -> None:
    follower.run(INDEX_DROP, {PARTITION: "d"}, success=False)
    follower.run(EMBED_DROP, WHOLE[EMBED_DROP], success=False)

    assert follower.tick() == []


def test_calls_wait_for_the_last_rank_and_are_asked_for_once(follower: Follower) -> None:
    follower.run(EMBED_DROP, tags_of_ranks("d", 0, 0), keys=["d|0"])
    assert follower.tick() == []
    follower.run(EMBED_DROP, tags_of_ranks("d", 1, 1), keys=["d|1"])
    follower.run(EMBED_DROP, {PARTITION: "d|0"}, keys=["d|0"])

    assert follower.tick() == [(CALL_DROP, WHOLE[CALL_DROP])]


def test_runs_before_the_first_tick_are_left_alone(follower: Follower) -> None:
    follower.cursor = None
    follower.run(INDEX_DROP, {PARTITION: "d"})
    assert follower.tick() == []


SENSOR, PERSON = {ASKED_BY: "new_drops"}, dict[str, str]()
BY_COMMAND = {ASKED_BY: COMMAND}


@pytest.mark.parametrize(
    ("automation", "tags", "is_followed"),
    [
        (True, SENSOR, True),
        (True, PERSON, True),
        (True, BY_COMMAND, False),
        (True, BY_COMMAND | {"dagster/parent_run_id": "x"}, True),
        (True, SENSOR | {BACKFILL: "x"}, False),
        (False, SENSOR, True),
        (False, PERSON, False),
        (False, BY_COMMAND | {"dagster/parent_run_id": "x"}, False),
    ],
)
def test_whose_runs_are_followed(
    follower: Follower, repositories, automation: bool, tags: dict[str, str], is_followed: bool
) -> None:
    follower.repository = repositories[automation]
    follower.run(INDEX_DROP, {PARTITION: "d"} | tags)

    assert follower.tick() == ([(EMBED_DROP, WHOLE[EMBED_DROP])] if is_followed else [])


@pytest.mark.parametrize("schedule", [NIGHTLY, RETRY])
def test_what_a_schedule_found_is_asked_for_once_a_tick_of_it(follower: Follower, schedule: str) -> None:
    leave_note(follower.instance, schedule, "1", {"d": whole(2)})
    assert follower.tick() == [(INDEX_DROP, {PARTITION: "d"})]
    assert follower.tick() == []
    rank = Todo(index=False, ranks={"esm2_embeddings": [1]}, call=STAGES[CALL_DROP])
    leave_note(follower.instance, schedule, "2", {"d": rank})

    (request,) = follower.requests()

    assert (request.job_name, request.asset_selection) == (EMBED_DROP, [dg.AssetKey("esm2_embeddings")])
    assert request.tags.items() >= {**tags_of_ranks("d", 1, 1), ASKED_BY: schedule}.items()


def test_a_request_that_is_made_again_has_the_same_key(follower: Follower) -> None:
    """A daemon that was killed between a request and its note of it asks again, and nothing is done twice."""
    before = follower.cursor
    follower.run(INDEX_DROP, {PARTITION: "d"})
    (first,) = follower.requests()
    follower.cursor = before
    (again,) = follower.requests()

    assert first.run_key == again.run_key
