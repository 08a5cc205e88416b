"""Runs that share the CPU slots of a machine: each owns one, and one too many waits or is refused."""

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Finished, SampleTask
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import ShardJob


def test_as_many_runs_as_slots_own_one_each_and_the_next_is_refused(
    make_job: Callable[..., ShardJob], tmp_path: Path
) -> None:
    job, locks = make_job(), tmp_path / "locks"

    def task(name: str) -> SampleTask:
        return SampleTask(
            encoder=job.encoder,
            index=job.index.folder,
            index_digest=job.index.manifest.digest,
            rows=[0],
            token_budget=256,
            one_at_a_time=False,
            target=tmp_path / f"{name}.npy",
        )

    with ExitStack() as open_pools:
        pools = [
            open_pools.enter_context(
                DevicePool([Device("cpu", 0, 1, any_of=2)], PoolOptions(locks, when_busy="refuse"))
            )
            for _ in range(3)
        ]
        for number, pool in enumerate(pools[:2]):
            lease = open_pools.enter_context(pool.lease())
            *_, last = lease.run(deque([task(str(number))]))
            assert isinstance(last.outcome, Finished)
        assert sorted(path.name for path in locks.iterdir()) == [
            "virnucpro-cpu-0.lock",
            "virnucpro-cpu-1.lock",
        ]
        with pytest.raises(BusyError) as raised, pools[2].lease() as lease:
            list(lease.run(deque([task("2")])))
        for slot in (0, 1):
            assert f"{locks / f'virnucpro-cpu-{slot}.lock'}: found it held by a run of process " in str(
                raised.value
            )
        pools[1].close()
        with pools[2].lease() as lease:
            assert any(isinstance(event.outcome, Finished) for event in lease.run(deque([task("2")])))
    assert (
        (tmp_path / "0.npy").read_bytes()
        == (tmp_path / "1.npy").read_bytes()
        == (tmp_path / "2.npy").read_bytes()
    )
