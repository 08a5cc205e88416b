"""A bench: a small job in a folder of its own, to be run, disturbed and run again."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets_tests.faults.embed_program import Specification
from virnucpro_assets_tests.faults.harness import Step
from virnucpro_assets_tests.jobs import small_job

BUDGET = 128
PACKS_PER_PART = 2


@dataclass(frozen=True)
class Bench:
    """A place to disturb a job in: ESM-2 over the small index in 32 parts of two packs each.

    `healthy` is a pool without a fault that all benches share.
    """

    folder: Path
    index: SequenceIndex
    healthy: DevicePool
    steps: ExitStack

    @property
    def job(self) -> ShardJob:
        return self.job_at(self.job_folder)

    @property
    def job_folder(self) -> Path:
        """Where the shards of the job are."""
        return self.folder / "out"

    def job_in(self, name: str) -> ShardJob:
        """The job with its shards in a folder of that name on the bench."""
        return self.job_at(self.folder / name)

    def job_at(self, folder: Path) -> ShardJob:
        """The job with its shards under a folder of choice."""
        model = MODELS_FOLDER / "esm2"
        return small_job(self.index, folder, model, budget=BUDGET, packs_per_part=PACKS_PER_PART)

    def pool(self, *numbers: int, **options: Any) -> DevicePool:
        """A pool of CPU slots of one thread, by their numbers."""
        devices = [Device("cpu", number, 1) for number in numbers]
        return DevicePool(devices, PoolOptions(self.folder / "locks", **options))

    def finish(
        self, pool: DevicePool | None = None, *, job: ShardJob | None = None, heard: list[str] | None = None
    ) -> list[ShardManifest]:
        """Do the job to its end, on the healthy pool unless told another; what it reports goes to `heard`."""
        with (pool or self.healthy).lease() as lease:
            return list(embed_shards([job or self.job], lease, ([] if heard is None else heard).append))

    def step(self, *numbers: int, out: str = "out", name: str = "step", **options: Any) -> Step:
        """The job as a process of its own, started on the CPU slots of these numbers."""
        specification = Specification(
            index=self.index.folder,
            out=self.folder / out,
            model=MODELS_FOLDER / "esm2",
            locks=self.folder / "locks",
            budget=BUDGET,
            packs_per_part=PACKS_PER_PART,
            devices=list(numbers),
            **options,
        )
        return self.steps.enter_context(Step(specification, self.folder / name))
