"""Jobs over a small index with the demo encoders, and one device process that most tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.vocabulary import Precision
from virnucpro_assets_tests.jobs import small_job

MakeJob = Callable[..., ShardJob]


@pytest.fixture(autouse=True)
def real_starts(cold_devices: None) -> None:
    """Starts and ends of device processes are what is tested here."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As many threads as the device processes of these tests have."""
    limit_threads(1)


OpenPool = Callable[..., DevicePool]


@pytest.fixture(scope="session")
def open_pool(tmp_path_factory: pytest.TempPathFactory) -> OpenPool:
    """Make a pool of CPU slots of one thread, by their numbers, whose locks are those of this session."""
    locks = tmp_path_factory.mktemp("locks")

    def make(*numbers: int, **options: Any) -> DevicePool:
        return DevicePool([Device("cpu", number, 1) for number in numbers], PoolOptions(locks, **options))

    return make


@pytest.fixture(scope="session")
def shared_pool(open_pool: OpenPool) -> Iterator[DevicePool]:
    """One CPU slot, whose process starts once for all tests that leave it in order."""
    with open_pool(99) as pool:
        yield pool


@pytest.fixture
def make_job(tmp_path: Path, small_index: SequenceIndex) -> MakeJob:
    """Make a job of many small parts: packs of at most `budget` tokens, one a part."""

    def make(
        model: Path = MODELS_FOLDER / "esm2",
        *,
        index: SequenceIndex = small_index,
        precision: Precision = "float32",
        budget: int = 256,
        out: Path = tmp_path,
    ) -> ShardJob:
        return small_job(index, out, model, precision=precision, budget=budget)

    return make
