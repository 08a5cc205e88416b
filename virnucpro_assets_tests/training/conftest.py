"""Labelled drops of the demo genomes, embedded once, that each test gets a copy of."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.settings import Settings
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.training.options import SetOptions, TrainOptions
from virnucpro_assets.training.train import TrainedVersion, train
from virnucpro_assets.vocabulary import LABELS
from virnucpro_assets_tests.labelled import embedded_drops, write_labelled_reads

DROPS = [LabelledDrop(drop=label, label=label) for label in LABELS]


@dataclass(frozen=True)
class School:
    """A data root with embedded drops of both classes, and no classifier in use unless `settings` says one."""

    settings: Settings

    def train(self, **options: Any) -> TrainedVersion:
        """Train fast; `options` change that."""
        chosen = {"learning_rate": 0.01, "batch_size": 64, "epochs": 8, **options}
        return train(DROPS, SetOptions(), TrainOptions(**chosen), self.settings, [].append)


def school_settings(root: Path, **changes: Any) -> Settings:
    return Settings(
        **{"data_root": root, "classifiers": root / "none", "devices": "cpu:1", "ranks": 2, "check_sample": 4}
        | changes
    )


@pytest.fixture(scope="session")
def embedded_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the embedded drops `virus` and `others`; look at it only."""
    limit_threads(1)
    root = tmp_path_factory.mktemp("labelled")
    files = write_labelled_reads(root / "files", 300)
    assert embedded_drops(files, school_settings(root / "data")) == DROPS
    return root / "data"


@pytest.fixture
def open_school(tmp_path: Path, embedded_root: Path) -> Callable[..., School]:
    """A school in a data root of the test's own, under changed settings."""

    def opened(**changes: Any) -> School:
        root = tmp_path / "data"
        if not root.exists():
            shutil.copytree(embedded_root, root)
        return School(school_settings(root, **changes))

    return opened
