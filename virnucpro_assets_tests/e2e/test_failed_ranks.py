"""A rank that fails in a running `dagster dev`, its re-execution from failure, and both schedules."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from virnucpro_assets.defs.partitions import ASSETS as ALL
from virnucpro_assets.defs.partitions import DROPS, EMBEDDINGS, Partitions
from virnucpro_assets.defs.partitions import OF_CALL as AFTER
from virnucpro_assets.defs.statuses import FAILED, MADE, Statuses
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.held_ranks import held_rank
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import REPOSITORY, WebServer, running_web_server

pytestmark = [pytest.mark.timeout(900), pytest.mark.daemon]


BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { ... on LaunchBackfillSuccess { backfillId } }
}"""
FROM_FAILURE = """
mutation ($backfill: String!) {
  reexecutePartitionBackfill(reexecutionParams: {parentRunId: $backfill, strategy: FROM_FAILURE}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
STATUS = """
query ($backfill: String!) {
  partitionBackfillOrError(backfillId: $backfill) { ... on PartitionBackfill { status } }
}"""
START = """
mutation ($schedule: ScheduleSelector!) {
  startSchedule(scheduleSelector: $schedule) { __typename ... on PythonError { message } }
}"""


@dataclass(frozen=True)
class Server:
    """A running `dagster dev` without automation, and its deployment."""

    web: WebServer
    deployment: Deployment

    def backfill(self, mutation: str, **variables: object) -> str:
        """Launch a backfill and wait for its end; returns its id."""
        backfill = self.web.ask(mutation, **variables)["backfillId"]
        wait_until(lambda: self.status(backfill).startswith(("COMPLETED", "FAILED", "CANCELED")), 240)
        return backfill

    def status(self, backfill: str) -> str:
        return self.web.ask(STATUS, backfill=backfill)["status"]

    def start(self, schedule: str) -> None:
        found = self.web.ask(START, schedule={**REPOSITORY, "scheduleName": schedule})
        assert found["__typename"] == "ScheduleStateResult", found

    def statuses(self) -> Statuses:
        with self.deployment.instance() as instance:
            return Statuses.of(instance, Partitions(4))


def digests(deployment: Deployment, drop: str) -> dict[str, str]:
    """SHA-256 of each part, manifest and view of a drop's shards."""
    folder = DropStore(deployment.root / "data").current(drop)[1].path
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*/rank-*/*"))
    }


@pytest.fixture(scope="module")
def server(new_deployment) -> Iterator[Server]:
    deployment = new_deployment()
    for number, drop in enumerate(("failing", "hourly")):
        deployment.deliver(drop, 6, first=20 * number)
        assert deployment.run("index_drop", drop).success
    soon = datetime.now(UTC) + timedelta(minutes=12)
    variables = {
        "VIRNUCPRO_WHEN_BUSY": "refuse",
        "VIRNUCPRO_SETTLE_SECONDS": "2",
        "VIRNUCPRO_NIGHTLY_AT": f"{soon:%H:%M}",
        "VIRNUCPRO_RETRY_CRON": "* * * * *",
    }
    with running_web_server(deployment, **variables) as web:
        yield Server(web, deployment)


def selection(assets: tuple[str, ...], drop: str) -> dict[str, object]:
    """All partitions of assets that belong to a drop."""
    return {
        "partitionsByAssets": [
            {
                "assetKey": {"path": [asset]},
                "partitions": {
                    "range": {"start": keys[0], "end": keys[-1]},
                },
            }
            for asset in assets
            for keys in [Partitions(4).of_asset(asset, drop)]
        ]
    }


def test_from_failure_only_the_failed_rank_is_run_and_what_follows(server: Server) -> None:
    deployment = server.deployment
    with held_rank(deployment, "failing", "esm2", 2):
        first = server.backfill(BACKFILL, params=selection((*EMBEDDINGS, *AFTER), "failing"))
    assert server.status(first) == "COMPLETED_FAILED"
    assert server.statuses().having("failing", FAILED) == {"esm2_embeddings": {"failing|2"}}
    before, made = digests(deployment, "failing"), deployment.made(*ALL)
    assert not any("esm2/rank-02" in name for name in before)

    again = server.backfill(FROM_FAILURE, backfill=first)

    assert server.status(again) == "COMPLETED_SUCCESS"
    after = {asset: keys[len(made[asset]) :] for asset, keys in deployment.made(*ALL).items()}
    assert {asset: keys for asset, keys in after.items() if keys} == {
        "esm2_embeddings": ["failing|2"],
        **{key: ["failing"] for key in AFTER},
    }
    assert digests(deployment, "failing").items() >= before.items()
    assert deployment.stale() == [] or not any("failing" in line for line in deployment.stale())


def test_the_schedule_of_retries_makes_the_failed_rank_and_what_follows(server: Server) -> None:
    deployment = server.deployment
    with held_rank(deployment, "hourly", "dnabert_s", 1):
        server.backfill(BACKFILL, params=selection(EMBEDDINGS, "hourly"))
    assert server.statuses().having("hourly", FAILED) == {"dnabert_s_embeddings": {"hourly|1"}}
    made = deployment.made(*ALL)

    server.start("retry_failed")

    wait_until(lambda: "hourly" in deployment.made("drop_report")["drop_report"], 240)
    after = {asset: keys[len(made[asset]) :] for asset, keys in deployment.made(*ALL).items()}
    assert {asset: keys for asset, keys in after.items() if keys} == {
        "dnabert_s_embeddings": ["hourly|1"],
        **{key: ["hourly"] for key in AFTER},
    }


def test_with_the_nightly_schedule_on_all_of_a_drop_is_made_once(server: Server) -> None:
    deployment = server.deployment
    deployment.deliver("nightly", 4, first=60, partition=False)

    server.start("nightly_drops")

    wait_until(lambda: "nightly" in deployment.made("drop_report")["drop_report"], 780, pause=3)
    time.sleep(35)
    made = deployment.made(*ALL)
    keys = {
        asset: [f"nightly|{r}" for r in range(4)] if asset in EMBEDDINGS else ["nightly"] for asset in ALL
    }
    assert {asset: sorted(key for key in made[asset] if "nightly" in key) for asset in ALL} == keys
    with deployment.instance() as instance:
        assert set(instance.get_dynamic_partitions(DROPS)) == {"failing", "hourly", "nightly"}
    assert server.statuses().having("nightly", MADE).keys() == set(ALL)
