"""A bench for each test, and an uninterrupted run of its job to compare with."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.harness import Reference, reference_of
from virnucpro_assets_tests.faults.trouble import Trouble, finish
from virnucpro_assets_tests.jobs import Rows, rows_of_job


@pytest.fixture(autouse=True)
def real_starts(cold_devices: None) -> None:
    """Starts and ends of device processes are what is tested here."""


@pytest.fixture
def bench(tmp_path: Path, small_index: SequenceIndex, healthy_pool: DevicePool) -> Iterator[Bench]:
    """A place for one test; its steps end with it."""
    with ExitStack() as steps:
        yield Bench(tmp_path, small_index, healthy_pool, steps)


@pytest.fixture(scope="session")
def healthy_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevicePool]:
    """One CPU slot without a fault, whose process starts once for all tests that leave it in order."""
    options = PoolOptions(tmp_path_factory.mktemp("locks"))
    with DevicePool([Device("cpu", 99, 1)], options) as pool:
        yield pool


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, small_index: SequenceIndex, healthy_pool: DevicePool
) -> Bench:
    """A bench whose job was finished without interruption. To be copied, never changed."""
    with ExitStack() as steps:
        bench = Bench(tmp_path_factory.mktemp("reference"), small_index, healthy_pool, steps)
        bench.finish()
        return bench


@pytest.fixture(scope="session")
def reference(undisturbed: Bench) -> Reference:
    """What the job of a bench gives without interruption."""
    return reference_of(undisturbed.job)


@pytest.fixture
def trouble(tmp_path: Path, small_index: SequenceIndex) -> Trouble:
    """A place for the trouble of one test."""
    return Trouble(tmp_path, small_index)


@pytest.fixture(scope="session")
def numbers(
    tmp_path_factory: pytest.TempPathFactory, small_index: SequenceIndex, healthy_pool: DevicePool
) -> Rows:
    """Every row of the job of `trouble` without any."""
    job = Trouble(tmp_path_factory.mktemp("untroubled"), small_index).job()
    finish(job, healthy_pool)
    return rows_of_job(job)
