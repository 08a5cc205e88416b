"""A finished drop, made once, that each test gets a copy of."""

import shutil
from pathlib import Path

import pytest

from virnucpro_assets.pipeline.arrivals import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings


@pytest.fixture(scope="session")
def finished_data(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> Path:
    """A data root with the finished drop `d`, of 4 ranks; look at it only."""
    settings = Settings(data_root=tmp_path_factory.mktemp("finished"), devices="cpu:1", check_sample=4)
    register_reads("d", [ReadFile(small_reads)], settings)
    run_drop("d", settings, [].append)
    return settings.data_root


@pytest.fixture
def finished(tmp_path: Path, finished_data: Path) -> DropWork:
    """The finished drop `d` in a data root of the test's own."""
    shutil.copytree(finished_data, tmp_path / "data")
    return DropWork.on("d", Settings(data_root=tmp_path / "data", devices="cpu:1", check_sample=4), [].append)
