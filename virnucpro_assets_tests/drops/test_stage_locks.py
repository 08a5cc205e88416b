"""Who writes what of a drop, between real processes: waiting, refusing, what the killed left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virnucpro_assets.drops.stage_locks import shard_locks, stage_lock
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError
from virnucpro_assets.files.locks import FileLock
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.passed_checks import pass_checks_of_index

EMBED = """
import sys
from virnucpro_assets.pipeline.embed import open_pool
from virnucpro_assets.pipeline.embed import embed_drop
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.settings import load_settings

def say(line):
    print(line, flush=True)

settings = load_settings()
with open_pool(settings) as pool, pool.lease() as lease:
    for kind in sys.argv[1:]:
        sys.stdin.readline()
        work = DropWork.on("d", settings, say)
        for shard in embed_drop(work, {kind: range(settings.ranks)}, lease):
            say(f"{kind} rank {shard.rank} reused {shard.reused_parts} of {len(shard.parts)}")
        say(f"{kind} done")
"""

HOLD = """
import sys
from pathlib import Path
from virnucpro_assets.files.locks import locked
with locked(Path(sys.argv[1]), "somebody", "refuse", print):
    print("held", flush=True)
    sys.stdin.readline()
"""


class Process:
    """A Python program that is talked to by lines."""

    def __init__(self, program: str, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.said: list[str] = []

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait_for(self, words: str) -> str:
        """The next line that holds `words`; all lines are kept."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if words in line:
                return line.strip()
        raise AssertionError(f"{words!r} never came: {self.said}")

    def end(self) -> int:
        out, _ = self.process.communicate("\n")
        self.said += out.splitlines()
        return self.process.returncode


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start processes that do not outlive the test."""
    started: list[Process] = []

    def begin(program: str, *arguments: str, **environment: str) -> Process:
        started.append(Process(program, *arguments, **environment))
        return started[-1]

    yield begin
    for process in started:
        process.process.kill()
        process.process.communicate()


@pytest.fixture
def work(tmp_path: Path, small_reads: Path) -> DropWork:
    """An indexed drop of 4 ranks with several parts each."""
    settings = Settings(
        data_root=tmp_path / "data",
        locks_folder=tmp_path / "locks",
        devices="cpu:1",
        check_sample=2,
        token_budget=1024,
        packs_per_part=1,
    )
    register_reads("d", [ReadFile(small_reads)], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    return work


def environment_of(settings: Settings) -> dict[str, str]:
    return {
        "VIRNUCPRO_DATA_ROOT": str(settings.data_root),
        "VIRNUCPRO_LOCKS_FOLDER": str(settings.locks_folder),
        "VIRNUCPRO_DEVICES": settings.devices,
        "VIRNUCPRO_TOKEN_BUDGET": str(settings.token_budget),
        "VIRNUCPRO_PACKS_PER_PART": str(settings.packs_per_part),
        "VIRNUCPRO_CHECK_SAMPLE": str(settings.check_sample),
    }


def refusing(work: DropWork, report: Callable[[str], None]) -> DropWork:
    settings = work.settings.model_copy(update={"when_busy": "refuse"})
    return DropWork.on(work.drop.key, settings, report)


def test_a_rank_that_another_run_holds_fails_alone_where_nobody_waits(
    work: DropWork, start: Callable[..., Process]
) -> None:
    lock = work.folder.path / "esm2" / "rank-02-of-04.lock"
    holder = start(HOLD, str(lock))
    holder.wait_for("held")
    finished = []
    with (
        open_pool(work.settings) as pool,
        pool.lease() as lease,
        pytest.raises(EmbeddingError) as raised,
    ):
        finished += [shard.rank for shard in embed_drop(refusing(work, print), {"esm2": range(4)}, lease)]
    assert raised.value.failures.keys() == {("esm2", 2)}
    assert raised.value.failures["esm2", 2].startswith(f"{lock}: found it held by somebody (process ")
    assert raised.value.exit_code == 4
    folders = [work.folder.shard("esm2", rank, 4) for rank in range(4)]
    assert [(folder / "manifest.toml").exists() for folder in folders] == [True, True, False, True]
    assert not folders[2].exists()


def test_other_places_are_refused_with_their_holder(work: DropWork, start: Callable[..., Process]) -> None:
    for place in ("index", "check_sample", "merged", "predictions", "calls", "report"):
        holder = start(HOLD, str(work.folder.path / f"{place}.lock"))
        holder.wait_for("held")
        with (
            pytest.raises(BusyError, match=rf"{place}\.lock: found it held by somebody"),
            stage_lock(refusing(work, print), place),
        ):
            pass
        assert holder.end() == 0
        with stage_lock(refusing(work, print), place):
            about = json.loads((work.folder.path / f"{place}.lock").read_text())
        assert about["owner"] == f"{place} of drop d"


def test_shards_name_encoder_rank_and_drop_to_whoever_waits(work: DropWork) -> None:
    with shard_locks(work, {"esm2": [3, 1]}, before_waiting=lambda: None) as busy:
        locks = sorted((work.folder.path / "esm2").glob("*.lock"))
        owners = [json.loads(lock.read_text())["owner"] for lock in locks]
        assert busy == {}
    assert owners == ["esm2 rank 1 of drop d", "esm2 rank 3 of drop d"]


def test_ranks_of_one_drop_are_computed_side_by_side(work: DropWork) -> None:
    with (
        shard_locks(work, {"esm2": [0, 1]}, before_waiting=lambda: None) as first,
        shard_locks(refusing(work, print), {"esm2": [1, 2, 3]}, before_waiting=lambda: None) as second,
        shard_locks(refusing(work, print), {"dnabert_s": [0, 1]}, before_waiting=lambda: None) as third,
    ):
        assert (first, set(second), third) == ({}, {("esm2", 1)}, {})


@pytest.mark.slow
def test_two_runs_that_take_the_encoders_in_opposite_order_do_not_wait_for_each_other(
    work: DropWork, start: Callable[..., Process]
) -> None:
    one = start(EMBED, "dnabert_s", "esm2", **environment_of(work.settings))
    other = start(EMBED, "esm2", "dnabert_s", **environment_of(work.settings))
    one.tell()
    one.wait_for("dnabert_s done")
    other.tell()
    # Now it holds the shards of esm2, and waits for the device that the first run has kept.
    other.wait_for("device cpu:0: waiting for")
    one.tell()
    waiting = one.wait_for("rank-00-of-04.lock")
    assert "which esm2 rank 0 of drop d (process " in waiting
    other.wait_for("esm2 done")
    assert (one.end(), other.end()) == (0, 0)
    shards = {
        kind: [read_shard(work.folder.shard(kind, rank, 4), content=True) for rank in range(4)]
        for kind in ENCODER_KINDS
    }
    parts = {kind: [len(shard.parts) for shard in shards[kind]] for kind in ENCODER_KINDS}
    for kind, computed, found in (("dnabert_s", one, other), ("esm2", other, one)):
        for rank, count in enumerate(parts[kind]):
            assert f"{kind} rank {rank} reused 0 of {count}" in computed.said
            assert f"{kind} rank {rank} reused {count} of {count}" in found.said


def test_what_a_killed_run_left_half_made_is_removed_where_the_lock_is_held_and_nowhere_else(
    work: DropWork,
) -> None:
    generation = work.folder.path
    shard, other = work.folder.shard("esm2", 0, 4), work.folder.shard("esm2", 1, 4)
    covered = [
        shard / "part-00000.h5.partial-1-ab",
        shard / "manifest.toml.partial-1-ab",
        generation / "index.partial-xyz" / "records",
        generation / "index" / "rows.parquet.partial-1-ab",
        generation / "merged.h5.partial-1-ab",
        generation / "calls" / "hits.fasta.partial-1-ab",
        generation / "stages" / "calls.toml.partial-1-ab",
    ]
    uncovered = [
        other / "part-00000.h5.partial-1-ab",
        generation / "stages" / "esm2.toml.partial-1-ab",
        generation / "predictions" / "scores.npy.partial-1-ab",
        shard.with_name(f"{shard.name}.superseded-1") / "part-00000.h5.partial-1-ab",
        generation / "index" / "rows.parquet",
        shard / "part-00000.h5.quarantine-1",
    ]
    for path in covered + uncovered:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said: list[str] = []
    work = DropWork.on("d", work.settings, said.append)
    with shard_locks(work, {"esm2": [0]}, before_waiting=lambda: None):
        pass
    for place in ("index", "merged", "calls"):
        with stage_lock(work, place):
            pass
    assert [path for path in covered if path.exists() or path.parent.name == "index.partial-xyz"] == [
        covered[2]
    ]
    assert not covered[2].parent.exists()
    assert all(path.exists() for path in uncovered)
    assert [line.split(",")[0] for line in said] == [
        "removed 2 unfinished items of an ended run",
        "removed 2 unfinished items of an ended run",
        "removed 1 unfinished item of an ended run",
        "removed 2 unfinished items of an ended run",
    ]
    with shard_locks(work, {"esm2": range(4)}, before_waiting=lambda: None):
        pass
    assert [path.exists() for path in uncovered] == [False, False, True, True, True, True]


def test_nothing_is_removed_from_a_rank_that_another_run_holds(
    work: DropWork, start: Callable[..., Process]
) -> None:
    shard = work.folder.shard("esm2", 1, 4)
    shard.mkdir(parents=True)
    (shard / "part-00000.h5.partial-1-ab").touch()
    holder = start(HOLD, str(shard.with_name("rank-01-of-04.lock")))
    holder.wait_for("held")
    with shard_locks(refusing(work, print), {"esm2": range(4)}, before_waiting=lambda: None) as busy:
        assert set(busy) == {("esm2", 1)}
        assert (shard / "part-00000.h5.partial-1-ab").exists()


def test_devices_are_given_back_before_a_run_waits_and_at_no_other_time(work: DropWork) -> None:
    events: list[str] = []
    waiter = DropWork.on("d", work.settings, events.append)

    def give_back() -> None:
        events.append("gave back")
        holder.release()

    holder = FileLock(work.folder.path / "esm2" / "rank-01-of-04.lock", "somebody")
    assert holder.try_acquire() is None
    for _ in range(2):
        with shard_locks(waiter, {"esm2": [0, 1]}, before_waiting=give_back) as busy:
            assert busy == {}
    gave_back, waiting = events
    assert gave_back == "gave back"
    assert waiting.startswith(f"waiting for {holder.path}, which somebody (process ")
