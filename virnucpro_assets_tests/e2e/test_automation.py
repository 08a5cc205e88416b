"""Drops that arrive in random order at a running `dagster dev`, whose daemon is killed in the middle."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.statuses import FAILED, Statuses
from virnucpro_assets.intake.open_deliveries import read_open_deliveries
from virnucpro_assets_tests.deployments import BY_DROP, BY_RANK, Deployment
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import running_web_server

pytestmark = [pytest.mark.timeout(1200), pytest.mark.daemon]

AUTOMATION = {
    "VIRNUCPRO_AUTOMATION": "1",
    "VIRNUCPRO_SCAN_INTERVAL_SECONDS": "5",
    "VIRNUCPRO_SETTLE_SECONDS": "4",
}
HEALTHY = [f"drop{number}" for number in range(6)] + ["slow"]
COPYING_SECONDS = 40


def deliver_slowly(deployment: Deployment) -> None:
    """Copy a drop in small pieces, with pauses that are shorter than the settle time."""
    path = deployment.deliver("slow", 12, first=200, partition=False)
    content = path.read_bytes()
    path.write_bytes(b"")
    step = len(content) // COPYING_SECONDS + 1
    for start in range(0, len(content), step):
        with path.open("ab") as file:
            file.write(content[start : start + step])
        time.sleep(1)


def deliver_the_rest(deployment: Deployment, order: random.Random) -> None:
    """Six whole drops, one with a bad name, one empty folder and one corrupt file, in a random order."""
    drops = deployment.root / "drops"
    arrivals: list[Callable[[], object]] = [
        *(
            lambda drop=drop, first=20 * number: deployment.deliver(drop, 4, first=first, partition=False)
            for number, drop in enumerate(HEALTHY[:-1])
        ),
        lambda: deployment.deliver("bad name", 2, partition=False),
        (drops / "empty").mkdir,
        lambda: deployment.deliver("corrupt", 0, text="@read\nACGT\n+\nII\n", partition=False),
    ]
    order.shuffle(arrivals)
    for arrive in arrivals:
        arrive()
        time.sleep(order.uniform(0, 6))


def finished(deployment: Deployment) -> Callable[[], bool]:
    return lambda: set(deployment.made("drop_report")["drop_report"]) >= set(HEALTHY)


def kill_daemon(deployment: Deployment) -> None:
    """End the daemon of a deployment by SIGKILL; its command line names the folder of the instance."""
    (daemon,) = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "dagster._daemon" in (words := process.info["cmdline"] or [])
        and str(deployment.root) in " ".join(words)
    ]
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: "unexpectedly" in (deployment.root / "dagster-dev.log").read_text(), 60)


@pytest.fixture(scope="module")
def arrived(new_deployment) -> Deployment:
    """A deployment after ten deliveries, all that could be worked on, and a daemon that was killed."""
    deployment = new_deployment()
    (deployment.root / "drops").mkdir()
    with running_web_server(deployment, **AUTOMATION):
        time.sleep(15)
        copying = threading.Thread(target=deliver_slowly, args=[deployment])
        copying.start()
        deliver_the_rest(deployment, random.Random(4))
        wait_until(lambda: len(deployment.made("esm2_embeddings")["esm2_embeddings"]) >= 4, 240)
        kill_daemon(deployment)
        copying.join()
    assert not finished(deployment)()
    with running_web_server(deployment, **AUTOMATION):
        wait_until(finished(deployment), 700, pause=3)
        # Whatever would be asked for once more would be now.
        time.sleep(45)
    return deployment


def test_nothing_is_made_twice_and_all_that_is_healthy_once(arrived: Deployment) -> None:
    expected = Counter({(asset, drop): 1 for asset in BY_DROP for drop in HEALTHY})
    expected += Counter(
        {(asset, f"{drop}|{r}"): 1 for asset in BY_RANK for drop in HEALTHY for r in range(4)}
    )
    expected["sequence_drop", "corrupt"] = 1

    made = Counter((asset, key) for asset, keys in arrived.made(*BY_DROP, *BY_RANK).items() for key in keys)

    assert made == expected


def test_what_is_not_healthy_is_reported_with_its_reason(arrived: Deployment) -> None:
    reasons = {one.name: one.reason for one in read_open_deliveries(arrived.settings()).deliveries}
    with arrived.instance() as instance:
        statuses = Statuses.of(instance, Partitions(4))

    assert sorted(statuses.drops) == sorted([*HEALTHY, "corrupt"])
    assert set(reasons) == {"bad name/", "empty/"}
    assert reasons["empty/"] == "a folder without files of reads"
    assert "name" in reasons["bad name/"]
    assert statuses.having("corrupt", FAILED) == {"sequence_index": {"corrupt"}}
    assert [drop for drop in HEALTHY if statuses.having(drop, FAILED, None)] == []


def test_the_failed_index_was_tried_once(arrived: Deployment) -> None:
    with arrived.instance() as instance:
        tries = [
            event
            for run in instance.get_runs()
            for event in instance.all_logs(run.run_id)
            if event.dagster_event is not None
            and event.dagster_event.is_step_failure
            and (failure := event.dagster_event.step_failure_data.user_failure_data) is not None
            and "corrupt" in failure.metadata["drops"].value
        ]
    assert len(tries) == 1


def test_nothing_is_stale(arrived: Deployment) -> None:
    assert [line for line in arrived.stale() if "corrupt" not in line] == []


def test_the_drop_that_was_copied_slowly_has_all_its_reads(arrived: Deployment) -> None:
    whole = arrived.root / "drops" / "slow" / "slow.fastq"
    (table,) = Path(arrived.root / "data" / "slow").glob("*/predictions/prediction_results.txt")
    names = {line.split("_chunk_")[0] for line in table.read_text().splitlines()[1:]}
    reads = {line[1:].split()[0] for line in whole.read_text().splitlines()[::4]}
    assert names <= reads
    assert len(names) > len(reads) / 2
    assert len(list((arrived.root / "data" / "slow").glob("*/drop.toml"))) == 1
