"""Small jobs, an uninterrupted run of them to compare with, and pools and steps to disturb."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.shard_runs import ShardJob, embed_shards
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets_tests.faults.embed_program import Specification
from virnucpro_assets_tests.faults.harness import Reference, Step, reference_of
from virnucpro_assets_tests.jobs import small_job

BUDGET = 128
PACKS_PER_PART = 2


@dataclass(frozen=True)
class Bench:
    """A place to disturb a job in: ESM-2 over the small index in 32 parts of two packs each."""

    folder: Path
    index: SequenceIndex
    steps: ExitStack

    @property
    def job(self) -> ShardJob:
        return self.job_in("out")

    def job_in(self, name: str, kind: str = "esm2") -> ShardJob:
        """The job with its shards in a folder of that name."""
        model = MODELS_FOLDER / kind
        return small_job(self.index, self.folder / name, model, budget=BUDGET, packs_per_part=PACKS_PER_PART)

    def pool(self, *numbers: int, **options: Any) -> DevicePool:
        """A pool of CPU slots of one thread, by their numbers."""
        devices = [Device("cpu", number, 1) for number in numbers]
        return DevicePool(devices, PoolOptions(self.folder / "locks", **options))

    def run(
        self, *numbers: int, job: ShardJob | None = None, heard: list[str] | None = None, **options: Any
    ) -> list[ShardManifest]:
        """Do the job to its end in this process; what it reports goes to `heard`."""
        with self.pool(*numbers, **options) as pool, pool.lease() as lease:
            return list(embed_shards(job or self.job, lease, ([] if heard is None else heard).append))

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


@pytest.fixture
def bench(tmp_path: Path, small_index: SequenceIndex) -> Iterator[Bench]:
    """A place for one test; its steps end with it."""
    with ExitStack() as steps:
        yield Bench(tmp_path, small_index, steps)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, small_index: SequenceIndex) -> Reference:
    """The job of a bench, uninterrupted, on one device."""
    with ExitStack() as steps:
        bench = Bench(tmp_path_factory.mktemp("reference"), small_index, steps)
        bench.run(0)
        return reference_of(bench.job)
