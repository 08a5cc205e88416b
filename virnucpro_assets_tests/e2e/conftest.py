"""Deployments for tests from end to end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets_tests.deployments import Deployment


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def new_deployment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Deployment]:
    """Makes empty deployments."""

    def make() -> Deployment:
        deployment = Deployment(tmp_path_factory.mktemp("deployment"))
        with deployment.instance():
            return deployment

    return make


@pytest.fixture
def deployment(new_deployment: Callable[[], Deployment]) -> Deployment:
    """An empty deployment of one test."""
    return new_deployment()
