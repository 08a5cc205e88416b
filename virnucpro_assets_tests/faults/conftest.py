"""A bench for each test, and an uninterrupted run of its job to compare with."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.harness import Reference, reference_of


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
