"""Results of blocking checks for tests that call stages one by one, without the checks between them."""

from collections.abc import Mapping

from virnucpro_assets.checks.gate import (
    expected_checks,
    subjects_of_merged,
    subjects_of_predictions,
    subjects_of_shards,
)
from virnucpro_assets.checks.results import CheckResult, record_check
from virnucpro_assets.drops.recipes import make_recipe
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.storage.merged import read_merged
from virnucpro_assets.storage.tables import read_tables
from virnucpro_assets.vocabulary import ENCODER_KINDS


def pass_checks(work: DropWork, subjects: Mapping[str, str]) -> None:
    """Record every blocking check of `subjects` as passed."""
    for asset, name, rank in expected_checks(work, subjects):
        result = CheckResult(
            asset=asset, name=name, rank=rank, passed=True, threshold="none", subject=subjects[asset]
        )
        record_check(work.folder.checks, result)


def pass_checks_of_index(work: DropWork) -> None:
    """Let the index of a drop pass."""
    pass_checks(work, {"sequence_index": work.index.manifest.digest})


def pass_checks_of_shards(work: DropWork) -> None:
    """Let the index and the embeddings of a drop pass."""
    index = work.index.manifest
    recipes = {kind: make_recipe(work.settings, index, work.encoders[kind]) for kind in ENCODER_KINDS}
    pass_checks(work, subjects_of_shards(index.digest, recipes))


def pass_checks_of_merged(work: DropWork) -> None:
    """Let the merged embeddings of a drop pass, and what they are made from."""
    pass_checks(work, subjects_of_merged(work.index.manifest.digest, read_merged(work.folder.path)))


def pass_checks_of_predictions(work: DropWork) -> None:
    """Let the predictions of a drop pass, and what they are made from."""
    pass_checks(work, subjects_of_predictions(read_tables(work.folder.predictions)))
