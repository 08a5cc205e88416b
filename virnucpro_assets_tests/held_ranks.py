"""A rank that somebody else holds: the simplest way to have one rank fail and no other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.deployments import Deployment


@contextmanager
def held_rank(deployment: Deployment, drop: str, encoder: str, rank: int) -> Iterator[None]:
    """Hold the lock of a shard, as another run would that computes it."""
    shard = DropStore(deployment.root / "data").current(drop)[1].shard(encoder, rank, 4)
    shard.parent.mkdir(parents=True, exist_ok=True)
    with shard.with_name(f"{shard.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
