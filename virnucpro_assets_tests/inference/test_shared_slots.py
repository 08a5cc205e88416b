"""Runs that share the CPU slots of a machine: each owns one, and one too many waits or is refused."""

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Finished
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets_tests.jobs import sample_task


@pytest.mark.slow
def test_as_many_runs_as_slots_own_one_each_and_the_next_is_refused(
    make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    locks = tmp_path / "locks"
    tasks = [sample_task(make_job(), 0, tmp_path / f"{number}.npy") for number in range(3)]
    with ExitStack() as open_pools:
        pools = [
            open_pools.enter_context(
                DevicePool([Device("cpu", 0, 1, any_of=2)], PoolOptions(locks, when_busy="refuse"))
            )
            for _ in range(3)
        ]
        for task, pool in zip(tasks[:2], pools[:2], strict=True):
            lease = open_pools.enter_context(pool.lease())
            *_, last = lease.run(deque([task]))
            assert isinstance(last.outcome, Finished)
        assert sorted(path.name for path in locks.iterdir()) == [
            "virnucpro-cpu-0.lock",
            "virnucpro-cpu-1.lock",
        ]
        with pytest.raises(BusyError) as raised, pools[2].lease() as lease:
            list(lease.run(deque([tasks[2]])))
        for slot in (0, 1):
            assert f"{locks / f'virnucpro-cpu-{slot}.lock'}: found it held by a run of process " in str(
                raised.value
            )
        pools[1].close()
        with pools[2].lease() as lease:
            assert any(isinstance(event.outcome, Finished) for event in lease.run(deque([tasks[2]])))
    assert len({task.target.read_bytes() for task in tasks}) == 1
