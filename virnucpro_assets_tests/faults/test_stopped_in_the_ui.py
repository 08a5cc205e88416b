"""A run of the running `dagster dev` that is cancelled in the UI, and one whose process is killed.

The cancelled one is launched again; in the place of the dead one the daemon starts another.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.device_process import lock_of
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.faults.harness import is_free
from virnucpro_assets_tests.passed_checks import pass_checks_of_index
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import REPOSITORY, WebServer, running_web_server

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

RANKS = 4
SLOTS = 2
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in {"TAA", "TAG", "TGA"}]
SMALL_PARTS = {"devices": f"cpu:{SLOTS}", "token_budget": 1024, "packs_per_part": 1}
STEP_RETRIES = 2
"""A step that is cancelled must not be taken for one that failed, and tried again."""

ENOUGH_PARTS = 20
CANCEL_SECONDS = 5.0

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
RETRIES = """
query ($run: String!) {
  runsOrError(filter: {tags: [{key: "dagster/parent_run_id", value: $run}]}) {
    ... on Runs { results { runId } }
  }
}"""
TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } }
}"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


@dataclass(frozen=True)
class Session:
    """A running web server, the deployment that it serves, and what a drop of it comes to undisturbed."""

    web: WebServer
    deployment: Deployment
    whole: "Result"

    def launch(self, drop: str) -> str:
        """Launch the embeddings of all ranks of a drop; returns the id of the run."""
        tags = {
            "dagster/asset_partition_range_start": f"{drop}|0",
            "dagster/asset_partition_range_end": f"{drop}|{RANKS - 1}",
        }
        launched = self.web.ask(
            LAUNCH,
            params={
                "selector": {**REPOSITORY, "jobName": "embed_drop"},
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )
        return launched["run"]["runId"]

    def status(self, run: str) -> str:
        return self.web.ask(STATUS, run=run)["status"]

    def wait_for(self, run: str, *statuses: str, seconds: float = 120, pause: float = 0.2) -> float:
        """Wait until a run has one of these statuses; returns the seconds that took."""
        ended = {"SUCCESS", "FAILURE", "CANCELED", *statuses}

        def there() -> bool:
            nonlocal found
            found = self.status(run)
            return found in ended

        found = ""
        took = wait_until(there, seconds, pause=pause)
        assert found in statuses, (found, (self.deployment.root / "dagster-dev.log").read_text()[-4000:])
        return took

    def folder(self, drop: str) -> DropFolder:
        return DropStore(self.deployment.root / "data").current(drop)[1]

    def parts(self, drop: str) -> dict[Path, int]:
        """The parts of a drop that are on the disk, with their inodes."""
        paths = [
            path for kind in ENCODER_KINDS for path in self.folder(drop).path.glob(f"{kind}/*/part-*.h5")
        ]
        return {path: path.stat().st_ino for path in paths}

    def device_processes(self) -> list[psutil.Process]:
        """The running device processes of this deployment, told by the folder of their locks."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if str(self.deployment.root / "locks") in words:
                found.append(process)
        return found

    def stop_in_the_middle(self, drop: str) -> tuple[str, list[psutil.Process]]:
        """Launch a drop and come back when some parts are there; the run and its device processes."""
        run = self.launch(drop)
        wait_until(lambda: len(self.parts(drop)) >= ENOUGH_PARTS, 90, pause=0.02)
        return run, self.device_processes()


@dataclass(frozen=True)
class Result:
    """All shards of a drop by encoder and rank, and their embeddings in the order of their rows."""

    shards: dict[str, ShardManifest]
    embeddings: dict[str, npt.NDArray[np.float32]]

    @classmethod
    def read(cls, folder: DropFolder) -> "Result":
        paths = {
            f"{kind} {rank}": folder.shard(kind, rank, RANKS)
            for kind in ENCODER_KINDS
            for rank in range(RANKS)
        }
        embeddings = {}
        for name, path in paths.items():
            with h5py.File(path / "shard.h5") as file:
                embeddings[name] = file["embeddings"][:]
        return cls({name: read_shard(path, content=True) for name, path in paths.items()}, embeddings)

    @property
    def contents(self) -> dict[str, list[str]]:
        """The digests of rows and numbers of each part."""
        return {name: [part.content_sha256 for part in shard.parts] for name, shard in self.shards.items()}

    @property
    def parts(self) -> int:
        return sum(len(shard.parts) for shard in self.shards.values())

    @property
    def reused(self) -> int:
        return sum(shard.reused_parts for shard in self.shards.values())


def many_reads() -> str:
    """Enough reads that computing them in small parts takes some seconds."""
    random = np.random.default_rng(20)
    reads = ("".join(random.choice(CODONS, 100)) for _ in range(3000))
    return "".join(f">read{number}\n{bases}\n" for number, bases in enumerate(reads))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    settings = deployment.settings(**SMALL_PARTS)
    text = many_reads()
    for drop in ("cancelled", "killed"):
        deployment.deliver(drop, 0, text=text)
        assert deployment.run("index_drop", drop, settings=settings).success
    elsewhere = settings.model_copy(update={"data_root": deployment.root / "whole"})
    list_drop("killed", elsewhere)
    work = DropWork.on("killed", elsewhere, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    with open_pool(elsewhere) as pool, pool.lease() as lease:
        wanted = dict.fromkeys(ENCODER_KINDS, range(RANKS))
        assert len(list(embed_drop(work, wanted, lease))) == 2 * RANKS
    variables = {f"VIRNUCPRO_{name.upper()}": str(value) for name, value in SMALL_PARTS.items()}
    variables["VIRNUCPRO_STEP_RETRIES"] = str(STEP_RETRIES)
    with running_web_server(deployment, **variables) as web:
        yield Session(web, deployment, Result.read(work.folder))


def assert_landed_and_kept(session: Session, drop: str, processes: list[psutil.Process]) -> dict[Path, int]:
    """After a fault: it landed in the middle, nothing runs on, and nothing half-written has a part's name."""
    parts = session.parts(drop)
    assert 1 <= len(processes) <= SLOTS, "little work starts few"
    assert ENOUGH_PARTS <= len(parts) < session.whole.parts
    assert session.device_processes() == []
    locks = [lock_of(session.deployment.root / "locks", "cpu", slot) for slot in range(SLOTS)]
    wait_until(lambda: all(is_free(lock) for lock in locks), 5, pause=0.02)
    half_written = list(session.folder(drop).path.rglob("*.partial-*"))
    assert len(half_written) <= SLOTS
    return parts


def assert_resumed(session: Session, drop: str, kept: dict[Path, int], untouched: int = 0) -> None:
    """Every part that was there was left alone, and all numbers are those of an undisturbed run.

    Up to `untouched` of those parts are of shards that the next run did not even look at.
    """
    result = Result.read(session.folder(drop))
    assert session.parts(drop).items() >= kept.items()
    assert len(kept) - untouched <= result.reused <= len(kept)
    assert result.contents == session.whole.contents
    for name, expected in session.whole.embeddings.items():
        np.testing.assert_array_equal(result.embeddings[name], expected)


def test_a_run_cancelled_in_the_ui_ends_within_5_seconds_and_the_next_one_goes_on(session: Session) -> None:
    run, processes = session.stop_in_the_middle("cancelled")
    before = session.parts("cancelled")

    started = time.monotonic()
    answer = session.web.ask(TERMINATE, run=run)
    assert answer["__typename"] == "TerminateRunSuccess", answer
    session.wait_for(run, "CANCELED", pause=0.02)
    wait_until(lambda: not any(process.is_running() for process in processes), 10, pause=0.02)
    assert time.monotonic() - started < CANCEL_SECONDS
    kept = assert_landed_and_kept(session, "cancelled", processes)
    assert kept.items() >= before.items()

    session.wait_for(session.launch("cancelled"), "SUCCESS")
    assert_resumed(session, "cancelled", kept)


@pytest.mark.slow
def test_a_run_whose_process_is_killed_leaves_no_orphan_and_is_done_again(session: Session) -> None:
    run, processes = session.stop_in_the_middle("killed")
    (worker,) = {process.ppid() for process in processes}

    psutil.Process(worker).kill()
    psutil.wait_procs(processes, timeout=5)
    kept = assert_landed_and_kept(session, "killed", processes)
    finished = {path.parent for path in session.folder("killed").path.glob("*/rank-*/manifest.toml")}
    session.wait_for(run, "FAILURE", seconds=30)

    wait_until(lambda: bool(session.web.ask(RETRIES, run=run)["results"]), 60)
    (again,) = session.web.ask(RETRIES, run=run)["results"]
    session.wait_for(again["runId"], "SUCCESS")
    assert_resumed(session, "killed", kept, untouched=sum(path.parent in finished for path in kept))
    made = session.deployment.made("dnabert_s_embeddings", "esm2_embeddings")
    recorded = {
        asset: sorted(key for key in keys if key.startswith("killed|")) for asset, keys in made.items()
    }
    assert recorded == {asset: [f"killed|{rank}" for rank in range(RANKS)] for asset in made}
