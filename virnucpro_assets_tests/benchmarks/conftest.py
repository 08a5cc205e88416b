"""One thread for every test of the benchmarks: their shapes are small."""

import pytest

from virnucpro_assets.models.hardware import limit_threads


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small products gain nothing from threads, and on a busy machine they wait for each other."""
    limit_threads(1)


@pytest.fixture(autouse=True)
def real_starts(cold_devices: None) -> None:
    """What a start costs is measured, and the process of a benchmark is killed."""
