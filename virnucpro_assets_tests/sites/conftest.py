"""Deployments for tests of whole sites."""

from virnucpro_assets_tests.e2e.conftest import empty_home, new_deployment

__all__ = ["empty_home", "new_deployment"]
