"""Device processes: when they start and end, and what becomes of one that dies."""

import os
import re
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.messages import Finished
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError, embed_shards
from virnucpro_assets_tests.jobs import contents, run_job, sample_task

OpenPool = Callable[..., DevicePool]


def part_names(job: ShardJob) -> list[str]:
    """The parts that a job has written, as rank and name."""
    return sorted(
        f"{path.parent.name}/{path.name}" for path in job.folders[0].parent.glob("rank-*/part-*.h5")
    )


def device_processes() -> list[int]:
    """The process ids of the device processes that this process started and that still run."""
    children = psutil.Process().children()
    return [child.pid for child in children if any("device_process" in word for word in child.cmdline())]


def test_no_task_starts_no_process(open_pool: OpenPool) -> None:
    before = device_processes()
    with open_pool(0, 1) as pool, pool.lease() as lease:
        assert list(lease.run(deque())) == []
        assert device_processes() == before


def test_every_task_ends_once_and_the_process_stays_for_the_next(
    shared_pool: DevicePool, make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    job = make_job()
    tasks = [sample_task(job, row, tmp_path / f"{row}.npy") for row in range(5)]
    with shared_pool.lease() as lease:
        ended = [event.task for event in lease.run(deque(tasks)) if isinstance(event.outcome, Finished)]
        process = shared_pool.process(lease.devices[0]).pid
        again = [event.task for event in lease.run(deque(tasks[:2])) if isinstance(event.outcome, Finished)]
        assert shared_pool.process(lease.devices[0]).pid == process
    assert ended == tasks
    assert again == tasks[:2]
    assert all(task.target.exists() for task in tasks)


FAULT = (
    "This is a fault of the installation (Python, PyTorch or the driver), not of the reads: repair it first"
)


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("raise SystemExit(3)", f"ended with exit code 3 before its first task (it left no message). {FAULT}"),
        (
            "import no_such_module",
            "ended with exit code 1 before its first task (ModuleNotFoundError: No module named 'no_such_module'). "
            f"{FAULT}",
        ),
        ("print('hello')", f"found 'hello' on its standard output; expected a reply. {FAULT}"),
        ("print('h' * 5000)", f"found '{'h' * 298}… on its standard output; expected a reply. {FAULT}"),
        ("print('{}')", f"found '{{}}' on its standard output; expected a reply. {FAULT}"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal SIGKILL before its first task (it left no message)"),
        ("raise SystemExit(0)", f"ended with exit code 0 before its first task (it left no message). {FAULT}"),
    ],
)  # fmt: skip
def test_what_fails_before_the_first_task_is_a_fault_of_the_installation(
    open_pool: OpenPool, make_job: Callable[..., ShardJob], tmp_path: Path, program: str, line: str
) -> None:
    task, heard = sample_task(make_job(), 0, tmp_path / "0.npy"), list[str]()
    with (
        open_pool(7, program=("-c", program), max_restarts=1) as pool,
        pool.lease() as lease,
        pytest.raises(DeviceError) as error,
    ):
        heard += [str(event.outcome) for event in lease.run(deque([task]))]
    ended = f"device process cpu:7: {line}"
    assert str(error.value) == f"{ended}. No device is left. Finished parts are kept: run it again."


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_result_is_the_same(
    shared_pool: DevicePool, open_pool: OpenPool, make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    whole = run_job(shared_pool, make_job(out=tmp_path / "whole"))
    planned = sum(len(shard.parts) for shard in whole)
    job, others, heard = make_job(out=tmp_path / "killed"), device_processes(), list[str]()

    with open_pool(3) as pool, pool.lease() as lease:
        run = embed_shards([job], lease, heard.append)
        finished = [next(run)]
        os.kill(pool.process(lease.devices[0]).pid, signal.SIGKILL)
        assert 0 < len(part_names(job)) < planned
        finished += run
    assert device_processes() == others
    (death,) = [line for line in heard if "ended" in line]
    # On a busy machine it may hold two tasks, or none any more when the pool sees its end.
    part, none = r"esm2 rank 1 part \d", r"\(it left no message\)"
    several = rf"at {part} or {part} {none}; each of them is tried again alone"
    work = rf"(at {part} {none}; tried again|between tasks {none}|{several})"
    assert re.fullmatch(rf"device process cpu:3: ended by signal SIGKILL {work}", death)
    assert contents(finished) == contents(whole)


@pytest.mark.slow
def test_a_device_whose_process_always_dies_is_given_up_and_finished_parts_serve_the_next_run(
    shared_pool: DevicePool, open_pool: OpenPool, make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    whole = run_job(shared_pool, make_job(out=tmp_path / "whole"))
    job, heard = make_job(out=tmp_path / "killed"), list[str]()
    with open_pool(3, max_restarts=0) as pool, pool.lease() as lease:
        run = embed_shards([job], lease, heard.append)
        assert next(run).rank == 0
        os.kill(pool.process(lease.devices[0]).pid, signal.SIGKILL)
        with pytest.raises(EmbeddingError, match=r"ended by signal SIGKILL .* No device is left") as error:
            list(run)
    assert error.value.exit_code == DeviceError.exit_code
    kept = part_names(job)
    assert 0 < len(kept) < len(part_names(make_job(out=tmp_path / "whole")))

    second = run_job(shared_pool, job)
    assert sum(shard.reused_parts for shard in second) == len(kept)
    assert contents(second) == contents(whole)


@pytest.mark.slow
def test_leaving_a_run_early_ends_its_processes(
    open_pool: OpenPool, make_job: Callable[..., ShardJob]
) -> None:
    others = device_processes()
    with open_pool(0) as pool, pool.lease() as lease:
        run = embed_shards([make_job()], lease, [].append)
        next(run)
        assert len(device_processes()) == len(others) + 1
        run.close()
        assert device_processes() == others


@pytest.mark.slow
def test_two_slots_give_the_same_bytes_as_one(
    shared_pool: DevicePool, open_pool: OpenPool, make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    by_one = run_job(shared_pool, make_job(out=tmp_path / "one"))
    with open_pool(0, 1) as pool:
        by_two = run_job(pool, make_job(out=tmp_path / "two"))
    assert {device for shard in by_two for device in shard.devices} == {"cpu:0", "cpu:1"}
    assert contents(by_one) == contents(by_two)
