"""The one Definitions object that Dagster loads, built from the settings of the deployment."""

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.jobs import CALL_DROP, EMBED_DROP, INDEX_DROP
from virnucpro_assets.settings import load_settings

defs: dg.Definitions = build_definitions(load_settings())


def index_drop() -> dg.JobDefinition:
    """The first job of a drop."""
    return defs.resolve_job_def(INDEX_DROP.name)


def embed_drop() -> dg.JobDefinition:
    """The second job of a drop."""
    return defs.resolve_job_def(EMBED_DROP.name)


def call_drop() -> dg.JobDefinition:
    """The third job of a drop."""
    return defs.resolve_job_def(CALL_DROP.name)
