"""The step of the embeddings: a drop that fails fails alone, and a step that is tried again goes on."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs.partitions import EMBEDDINGS, OF_CALL, Partitions
from virnucpro_assets.defs.statuses import Statuses
from virnucpro_assets.errors import DeviceError
from virnucpro_assets.pipeline.embed import embed_drop

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*is in beta:dagster_shared.utils.warnings.BetaWarning"),
]


def retries(result: dg.ExecuteInProcessResult) -> int:
    """How often a step was tried again."""
    return sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events)


def ranks_of(*drops: str) -> list[str]:
    return sorted(f"{drop}|{rank}" for drop in drops for rank in range(4))


@pytest.mark.slow
def test_of_a_backfill_over_several_drops_the_one_that_fails_is_named_and_the_others_are_made(
    deployment,
) -> None:
    """Dagster gives a run of a backfill one rank of several drops, if there are more drops than ranks."""
    for number, drop in enumerate(("first", "corrupt", "last")):
        text = "@read\nACGT\n+\nII\n" if drop == "corrupt" else None
        deployment.deliver(drop, 6, first=10 * number, text=text)
        assert deployment.run("index_drop", drop).success is (drop != "corrupt")

    settings = deployment.settings(step_retries=2, step_retry_seconds=0)
    result = deployment.run("embed_drop", "first", last="last", ranks=(0, 3), settings=settings)

    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert list(failure.metadata["drops"].value) == ["corrupt"]
    assert failure.description == failure.metadata["drops"].value["corrupt"]
    assert retries(result) == 0
    made = deployment.made(*EMBEDDINGS)
    assert {asset: sorted(keys) for asset, keys in made.items()} == dict.fromkeys(
        EMBEDDINGS, ranks_of("first", "last")
    )


def dying_once() -> Any:
    """Embeddings whose device dies after two shards of its first use."""
    uses = Counter[str]()

    def embed(*arguments: Any, **options: Any) -> Iterator[Any]:
        uses["all"] += 1
        if uses["all"] > 1:
            yield from embed_drop(*arguments, **options)
        else:
            yield from islice(embed_drop(*arguments, **options), 2)
            raise DeviceError("device process cpu:0: ended by signal SIGKILL")

    return embed


def test_a_step_without_a_device_is_tried_again_and_makes_only_what_is_missing(
    deployment, monkeypatch
) -> None:
    monkeypatch.setattr("virnucpro_assets.defs.embeddings.embed_drop", dying_once())
    deployment.deliver("d", 4)
    assert deployment.run("index_drop", "d").success
    settings = deployment.settings(step_retries=1, step_retry_seconds=0)

    result = deployment.run("embed_drop", "d", ranks=(0, 3), settings=settings, selection=["esm2_embeddings"])

    assert (result.success, retries(result)) == (True, 1)
    assert sorted(deployment.made("esm2_embeddings")["esm2_embeddings"]) == ranks_of("d")
    check = dg.AssetCheckKey(dg.AssetKey("esm2_embeddings"), "finite_values")
    with deployment.instance() as instance:
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=99)
    assert sorted(record.partition for record in history) == ranks_of("d")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tags", "times"),
    [({"dagster/retry_number": "1"}, 1), ({"dagster/is_resume_retry": "true"}, 1), ({}, 2)],
    ids=["by the daemon after a crash", "from failure, by a person", "all of it, by a person"],
)
def test_a_run_that_is_repeated(deployment, monkeypatch, tags: dict[str, str], times: int) -> None:
    monkeypatch.setattr("virnucpro_assets.defs.embeddings.embed_drop", dying_once())
    deployment.deliver("d", 4)
    assert deployment.run("index_drop", "d").success
    dead = deployment.run("embed_drop", "d", ranks=(0, 3), selection=["esm2_embeddings"])
    assert len(deployment.made("esm2_embeddings")["esm2_embeddings"]) == 2

    again = deployment.run(
        "embed_drop",
        "d",
        ranks=(0, 3),
        selection=["esm2_embeddings"],
        tags={**tags, "dagster/parent_run_id": dead.run_id},
    )

    assert again.success
    made = Counter(deployment.made("esm2_embeddings")["esm2_embeddings"])
    assert sorted(made.values()) == [1, 1, times, times]
    assert sorted(made) == ranks_of("d")


@pytest.mark.slow
def test_a_drop_without_the_sample_of_its_precision_checks_lacks_a_rank_and_a_retry_makes_both(
    deployment, monkeypatch
) -> None:
    def failing(*_: Any) -> None:
        raise DeviceError("device process cpu:0: ended by signal SIGKILL")

    deployment.deliver("d", 4)
    assert deployment.run("index_drop", "d").success
    with monkeypatch.context() as patched:
        patched.setattr("virnucpro_assets.pipeline.embed.embed_check_sample", failing)
        failed = deployment.run("embed_drop", "d", ranks=(0, 3))
    assert not failed.success
    with deployment.instance() as instance:
        todo = Statuses.of(instance, Partitions(4)).failed("d", deployment.settings())
    assert {asset: len(ranks) for asset, ranks in todo.ranks.items()} == {"esm2_embeddings": 1}
    assert todo.call == OF_CALL

    tags = {"dagster/is_resume_retry": "true", "dagster/parent_run_id": failed.run_id}
    assert deployment.run("embed_drop", "d", ranks=(0, 3), tags=tags).success

    assert deployment.run("call_drop", "d").success
    assert Counter(deployment.made("esm2_embeddings")["esm2_embeddings"]) == Counter(ranks_of("d"))
