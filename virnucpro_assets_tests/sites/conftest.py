"""Deployments for tests of whole sites."""

from virnucpro_assets_tests.e2e.conftest import new_deployment

__all__ = ["new_deployment"]
