"""The running web server and daemon: drops added and backfilled through the UI's own interface."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Any

import pytest

from virnucpro_assets.defs.partitions import TRAINING
from virnucpro_assets_tests.deployments import BY_DROP, BY_RANK
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import REPOSITORY, WebServer, running_web_server

pytestmark = [pytest.mark.timeout(420), pytest.mark.slow]

DROPS = ("d1", "d2")

RANKS = tuple(f"{drop}|{rank}" for drop in DROPS for rank in range(4))
GPU_STEPS = ("embed",)
EXPECTED_CHECKS = {
    "sequence_index.every_read_accounted_for": list(DROPS),
    "merged_embeddings.completeness": list(DROPS),
    "predictions.precision_in_use_matches_float32": list(DROPS),
    "predictions.float16_matches_float32": list(DROPS),
    "predictions.packed_matches_one_at_a_time": list(DROPS),
    **{
        f"{asset}.{name}": list(RANKS)
        for asset in BY_RANK
        for name in ("finite_values", "packing_efficiency")
    },
}

ADD_DROP = """
mutation ($repository: RepositorySelector!, $drop: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "sequence_drops", partitionKey: $drop) {
    __typename
  }
}"""
MATERIALISE_ALL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}"""
BACKFILL = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
    ... on PythonError { message }
  }
}"""
RUNS = """
{ runsOrError { ... on Runs { results {
  runId status assetSelection { path } stepStats { stepKey startTime endTime }
} } } }"""
ASSETS = "{ assetNodes { assetKey { path } partitionStats { numPartitions numMaterialized numFailed } } }"
STALE = """
query ($asset: AssetKeyInput!, $partition: String!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode { staleStatus(partition: $partition) } }
}"""
CHECKS = """
query ($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks {
    name
    partitionStatuses {
      ... on AssetCheckDefaultPartitionStatuses { succeededPartitions }
      ... on AssetCheckMultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey secondaryDim {
        ... on AssetCheckDefaultPartitionStatuses { succeededPartitions }
      } } }
    }
  } } } } }
}"""


@pytest.fixture
def server(deployment) -> Iterator[WebServer]:
    with running_web_server(deployment) as web:
        yield web


@pytest.mark.daemon
def test_materialize_all_of_two_drops_launched_together(deployment, server):
    for first, drop in enumerate(DROPS):
        deployment.deliver(drop, 8, first=40 * first, partition=False)
        server.ask(ADD_DROP, repository=REPOSITORY, drop=drop)
    selection = [{"path": [asset]} for asset in ("classifier", *BY_DROP, *BY_RANK)]
    backfills = [
        server.ask(MATERIALISE_ALL, params={"assetSelection": selection, "partitionNames": [drop]})
        for drop in DROPS
    ]

    def ended() -> bool:
        states = [server.ask(BACKFILL, id=backfill["backfillId"])["status"] for backfill in backfills]
        return all(state.startswith(("COMPLETED", "FAILED", "CANCELED")) for state in states)

    wait_until(ended, 330)

    states = {server.ask(BACKFILL, id=backfill["backfillId"])["status"] for backfill in backfills}
    assert states == {"COMPLETED_SUCCESS"}
    runs = server.ask(RUNS)["results"]
    assert [run["status"] for run in runs] == ["SUCCESS"] * len(runs)
    assert sorted(Counter(assets_of(run) for run in runs).values()) == [2] * 4, runs
    assert not_materialised(server) == []
    assert passed_checks(server) == EXPECTED_CHECKS
    assert stale_partitions(server) == []
    assert_one_at_a_time(
        [step for run in runs for step in run["stepStats"] if step["stepKey"] in GPU_STEPS], steps=2
    )


def assets_of(run: Any) -> tuple[str, ...]:
    """The assets that a run was launched for."""
    return tuple(sorted(asset["path"][0] for asset in run["assetSelection"]))


def not_materialised(server: WebServer) -> list[Any]:
    """The assets of which a partition is missing or failed."""
    counts = {asset["assetKey"]["path"][0]: asset["partitionStats"] for asset in server.ask(ASSETS)}
    assert {name for name, count in counts.items() if count is None} == {"classifier", *TRAINING}
    expected = {name: 2 * 4 if name in BY_RANK else 2 for name in (*BY_DROP, *BY_RANK)}
    return [
        (name, counts[name])
        for name, partitions in expected.items()
        if counts[name] != {"numPartitions": partitions, "numMaterialized": partitions, "numFailed": 0}
    ]


def passed_checks(server: WebServer) -> dict[str, list[str]]:
    """The partitions of each check that the page of checks shows as passed."""
    passed = {}
    for asset in (*BY_DROP, *BY_RANK):
        for check in server.ask(CHECKS, asset={"path": [asset]})["assetChecksOrError"]["checks"]:
            found = check["partitionStatuses"]
            if "ranges" not in found:
                passed[f"{asset}.{check['name']}"] = sorted(found["succeededPartitions"])
                continue
            passed[f"{asset}.{check['name']}"] = sorted(
                f"{drop}|{rank}"
                for drops in found["ranges"]
                for drop in DROPS
                if drops["primaryDimStartKey"] <= drop <= drops["primaryDimEndKey"]
                for rank in drops["secondaryDim"]["succeededPartitions"]
            )
    return passed


def stale_partitions(server: WebServer) -> list[str]:
    """The partitions that the UI marks as unsynced."""
    partitions = {**dict.fromkeys(BY_DROP, DROPS), **dict.fromkeys(BY_RANK, RANKS)}
    return [
        f"{asset} {partition}"
        for asset, keys in partitions.items()
        for partition in keys
        if server.ask(STALE, asset={"path": [asset]}, partition=partition)["staleStatus"] != "FRESH"
    ]


def assert_one_at_a_time(found: list[Any], *, steps: int) -> None:
    """Steps in the pool of devices must not overlap, whichever run they belong to."""
    found.sort(key=itemgetter("startTime"))
    assert len(found) == steps
    for earlier, later in pairwise(found):
        assert earlier["endTime"] <= later["startTime"], (earlier, later)
