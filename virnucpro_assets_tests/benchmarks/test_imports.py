"""Benchmarks run rarely: what they use of each other and of the package is there all the same."""

import importlib
import pkgutil

import pytest

import benchmarks

NEEDS_OTHER_PARSERS = {"benchmarks.parsers"}
MODULES = {module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")}


@pytest.mark.parametrize("name", sorted(MODULES - NEEDS_OTHER_PARSERS))
def test_a_benchmark_can_be_loaded(name: str) -> None:
    assert importlib.import_module(name).__name__ == name
