"""Deployments for tests from end to end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets_tests.deployments import Deployment


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Dagster home of an empty instance, made once and copied."""
    deployment = Deployment(tmp_path_factory.mktemp("template"))
    with deployment.instance():
        return deployment.dagster_home


@pytest.fixture(scope="session")
def new_deployment(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Callable[[], Deployment]:
    """Makes empty deployments."""

    def make() -> Deployment:
        deployment = Deployment(tmp_path_factory.mktemp("deployment"))
        shutil.copytree(empty_home, deployment.dagster_home)
        return deployment

    return make


@pytest.fixture
def deployment(new_deployment: Callable[[], Deployment]) -> Deployment:
    """An empty deployment of one test."""
    return new_deployment()
