"""The one Definitions object that Dagster loads, built from the settings of the deployment.

The jobs below are those of the command line, which computes on the machine where it is called,
whatever the deployment does with the runs of the UI.
"""

from functools import cache

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.jobs import CALL_DROP, EMBED_DROP, INDEX_DROP, TRAIN_CLASSIFIER
from virnucpro_assets.settings import load_settings

defs: dg.Definitions = build_definitions(load_settings())


def index_drop() -> dg.JobDefinition:
    """The first job of a drop."""
    return _here().resolve_job_def(INDEX_DROP.name)


def embed_drop() -> dg.JobDefinition:
    """The second job of a drop."""
    return _here().resolve_job_def(EMBED_DROP.name)


def call_drop() -> dg.JobDefinition:
    """The third job of a drop."""
    return _here().resolve_job_def(CALL_DROP.name)


def train_classifier() -> dg.JobDefinition:
    """The job that trains a classifier."""
    return _here().resolve_job_def(TRAIN_CLASSIFIER)


@cache
def _here() -> dg.Definitions:
    settings = load_settings()
    if settings.executor == "in_process":
        return defs
    return build_definitions(settings.model_copy(update={"executor": "in_process"}))
