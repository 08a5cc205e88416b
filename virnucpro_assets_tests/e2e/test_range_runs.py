"""Runs over many drops: each is made, checked and recorded by itself, and one that fails fails alone."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.pipeline.embed import embed_drop
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.deployments import BY_RANK

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*is in beta:dagster_shared.utils.warnings.BetaWarning"),
]

DROPS = ["first", "corrupt", "damaged", "empty", "last"]
HEALTHY = ["first", "empty", "last"]
AFTER = ("merged_embeddings", "predictions", "virus_calls", "drop_report", "check_report")


def failure_of(result: dg.ExecuteInProcessResult, step: str) -> dg.Failure:
    """What a failed step says."""
    (event,) = [event for event in result.all_events if event.is_step_failure and event.step_key == step]
    return event.step_failure_data.user_failure_data


def retries(result: dg.ExecuteInProcessResult) -> int:
    """How often a step was tried again."""
    return sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events)


def ranks_of(*drops: str) -> list[str]:
    return sorted(f"{drop}|{rank}" for drop in drops for rank in range(4))


@pytest.fixture(scope="module")
def ranges(new_deployment) -> tuple[Any, dict[str, dg.ExecuteInProcessResult]]:
    """A deployment whose drops went through three runs together, one with a corrupt file, one with a damaged part."""
    deployment = new_deployment()
    for number, drop in enumerate(DROPS):
        text = "@read\nACGT\n+\nII\n" if drop == "corrupt" else None
        deployment.deliver(drop, 0 if drop == "empty" else 6, first=10 * number, text=text)
    settings = deployment.settings(step_retries=2, step_retry_seconds=0)
    results = {}
    results["index"] = deployment.run("index_drop", "first", last="last", settings=settings)
    results["embed"] = deployment.run("embed_drop", "first", last="last", ranks=(0, 3), settings=settings)
    folder = DropStore(deployment.root / "data").current("damaged")[1]
    part = folder.shard("esm2", 2, 4) / "part-00000.h5"
    part.write_bytes(part.read_bytes()[:-1])
    results["call"] = deployment.run("call_drop", "first", last="last", settings=settings)
    return deployment, results


def test_the_drop_with_a_wrong_file_fails_alone_and_is_named_with_its_reason(ranges) -> None:
    deployment, results = ranges
    failure = failure_of(results["index"], "index_drops")

    assert deployment.made("sequence_drop", "sequence_index") == {
        "sequence_drop": DROPS,
        "sequence_index": [drop for drop in DROPS if drop != "corrupt"],
    }
    reasons = failure.metadata["drops"].value
    assert list(reasons) == ["corrupt"]
    assert failure.description == f"drop corrupt: {reasons['corrupt']}"
    assert str(deployment.root / "drops" / "corrupt") in reasons["corrupt"]


def test_the_ranks_of_the_other_drops_are_made_each_once(ranges) -> None:
    deployment, results = ranges
    made = deployment.made(*BY_RANK)

    expected = ranks_of("first", "damaged", "empty", "last")
    assert {asset: sorted(keys) for asset, keys in made.items()} == dict.fromkeys(BY_RANK, expected)
    assert list(failure_of(results["embed"], "esm2_embeddings").metadata["drops"].value) == ["corrupt"]


def test_a_drop_goes_no_further_than_what_it_lacks_and_the_next_ones_go_on(ranges) -> None:
    deployment, results = ranges

    assert deployment.made(*AFTER) == {**dict.fromkeys(AFTER, HEALTHY), "check_report": DROPS}
    assert list(failure_of(results["call"], "call_drops").metadata["drops"].value) == ["corrupt", "damaged"]


def test_wrong_input_is_not_tried_again(ranges) -> None:
    assert {name: retries(result) for name, result in ranges[1].items()} == {
        "index": 0,
        "embed": 0,
        "call": 0,
    }


def test_each_check_of_each_drop_is_recorded_once(ranges) -> None:
    deployment, _ = ranges
    with deployment.instance() as instance:
        for asset, check, drops in (
            ("sequence_index", "every_read_accounted_for", ["first", "damaged", "empty", "last"]),
            ("merged_embeddings", "completeness", HEALTHY),
            ("predictions", "precision_in_use_matches_float32", HEALTHY),
        ):
            key = dg.AssetCheckKey(dg.AssetKey(asset), check)
            history = instance.event_log_storage.get_asset_check_execution_history(key, limit=99)
            passed = [record.partition for record in history if record.status.value == "SUCCEEDED"]
            never_came = [record.partition for record in history if record.status.value == "PLANNED"]
            assert sorted(passed) == sorted(drops)
            assert sorted(passed + never_came) == sorted(DROPS)


def test_what_each_drop_shows_is_its_own(ranges) -> None:
    deployment, _ = ranges
    with deployment.instance() as instance:
        records = instance.fetch_materializations(dg.AssetKey("sequence_index"), limit=99).records
    found = {record.partition_key: record.asset_materialization for record in records}
    folders = {drop: DropStore(deployment.root / "data").current(drop)[1] for drop in found}

    assert {drop: found[drop].metadata["folder"].value for drop in found} == {
        drop: str(folder.index) for drop, folder in folders.items()
    }
    assert found["empty"].metadata["reads"].value == 0
    assert found["first"].metadata["reads"].value == 6
    assert len({found[drop].tags["dagster/data_version"] for drop in found}) == len(found)


def test_nothing_of_what_was_made_is_stale(ranges) -> None:
    stale = ranges[0].stale()

    assert {line.split()[-1] for line in stale} == {"MISSING"}
    assert {line.split()[1].split("|")[0] for line in stale} == {"corrupt", "damaged"}


@pytest.mark.slow
def test_a_blocking_check_holds_back_the_rest_of_its_drop_only(deployment, monkeypatch) -> None:
    def refusing(work):
        for result in check_precision(work):
            yield result.model_copy(update={"passed": work.drop.key != "b"}) if result.blocking else result

    monkeypatch.setattr("virnucpro_assets.defs.predictions.check_precision", refusing)
    for number, drop in enumerate("abc"):
        deployment.deliver(drop, 2, first=number)
    assert deployment.run("index_drop", "a", last="c").success
    assert deployment.run("embed_drop", "a", last="c", ranks=(0, 3)).success

    result = deployment.run("call_drop", "a", last="c")

    assert deployment.made(*AFTER) == {
        "merged_embeddings": ["a", "b", "c"],
        "predictions": ["a", "b", "c"],
        "virus_calls": ["a", "c"],
        "drop_report": ["a", "c"],
        "check_report": ["a", "b", "c"],
    }
    failure = failure_of(result, "call_drops")
    assert failure.metadata["exit_code"].value == 5
    assert "The results of drop b are held back." in failure.description


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
    [({"dagster/retry_number": "1"}, 1), ({}, 2)],
    ids=["by the daemon after a crash", "by a person"],
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
