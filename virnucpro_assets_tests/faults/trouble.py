"""A place for sequences and devices that make trouble: a job of packs of a few sequences, one pack a part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.plans import expected_tokens, plan_parts
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.sequences.index import SequenceIndex, first_members
from virnucpro_assets.storage.parts import rows_of
from virnucpro_assets.storage.provenance import Incidents
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import PartLog
from virnucpro_assets_tests.jobs import Rows, rows_of_job, small_job

BUDGET = 512
RANK, PART = 1, 1
"""Where the trouble is: in a part that is neither the first nor the last of its rank."""


@dataclass(frozen=True)
class Trouble:
    """A job over the small index in a folder of its own, 15 parts of one pack each."""

    folder: Path
    index: SequenceIndex

    def job(self, name: str = "out", **options: Any) -> ShardJob:
        """The job with its shards in a folder of that name; unless told otherwise it goes on without some rows."""
        return small_job(
            self.index, self.folder / name, **{"budget": BUDGET, "quarantine": "not_scored"} | options
        )

    @property
    def log(self) -> PartLog:
        """What the device processes say of their parts."""
        return PartLog(self.folder / "log")

    @property
    def pack(self) -> list[int]:
        """The rows of the pack in which the trouble is."""
        lengths = self.index.protein_lengths()[RANK :: self.index.manifest.ranks]
        plan = plan_parts(expected_tokens("esm2", lengths), RANK, BUDGET, 1)[PART]
        return rows_of(plan, self.index.manifest.ranks).tolist()

    def proteins(self, rows: list[int]) -> list[str]:
        """The proteins of some rows; no other row has one of them."""
        return [bytes(self.index.rows(row, row + 1).proteins[0]).decode() for row in rows]

    def name(self, row: int) -> str:
        """The name that people know a row by."""
        return first_members(self.index, [row])[row]

    def run(
        self,
        job: ShardJob,
        faults: Faults,
        *,
        slots: tuple[int, ...] = (0,),
        heard: list[str] | None = None,
        **options: Any,
    ) -> dict[int, ShardManifest]:
        """Do a job on CPU slots of one thread with faults; the finished shards by rank."""
        program = faults.model_copy(update={"log": self.log.path}).program
        devices = [Device("cpu", slot, 1) for slot in slots]
        with (
            DevicePool(devices, PoolOptions(self.folder / "locks", program=program, **options)) as pool,
            pool.lease() as lease,
        ):
            report = ([] if heard is None else heard).append
            return {shard.rank: shard for shard in embed_shards([job], lease, report)}


def finish(job: ShardJob, pool: DevicePool) -> dict[int, ShardManifest]:
    """Do a job on a pool without faults; the shards by rank."""
    with pool.lease() as lease:
        return {shard.rank: shard for shard in embed_shards([job], lease, [].append)}


def incidents_of(shards: dict[int, ShardManifest]) -> Incidents:
    """All incidents of some shards."""
    return sum((shard.incidents for shard in shards.values()), Incidents())


def assert_rows(
    job: ShardJob,
    expected: Rows,
    *,
    lost: list[int] | None = None,
    tolerance: float = 0.0,
    where: list[int] | None = None,
) -> None:
    """A finished job holds the expected numbers, NaN in the rows that are `lost`, and every digest is right.

    Bit for bit, but for the rows `where`, in which they may differ by `tolerance`.
    """
    for folder in job.folders.values():
        read_shard(folder, content=True)
    found = rows_of_job(job)
    assert found.keys() == expected.keys()
    for row, numbers in expected.items():
        if row in (lost or []):
            assert np.isnan(found[row]).all(), f"row {row} has numbers"
        elif row in (where or []):
            np.testing.assert_allclose(found[row], numbers, rtol=0, atol=tolerance)
        else:
            assert found[row].tobytes() == numbers.tobytes(), f"row {row} differs"
