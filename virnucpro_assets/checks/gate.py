"""The gate: no stage uses data that a blocking check has not passed, whoever starts the stage.

Every stage that uses checked data calls `require_passed` first. So a command, a schedule, automation, a job of the UI,
a step on a cluster, an automatic retry and the engine without Dagster behave the same. A result is valid only for the
content whose digest it has: if the content was made again from something else, the check counts as not run.
"""

from collections.abc import Iterator, Mapping

from virnucpro_assets.checks.results import CheckError, check_title, read_checks, require_pass
from virnucpro_assets.checks.rules import check_rules
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.storage.merged import MergedManifest
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.tables import TablesManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

Subjects = Mapping[str, str]
"""What a stage uses: the digest of each asset, as in the results of its checks."""


def require_passed(work: DropWork, subjects: Subjects) -> None:
    """Raise CheckError unless every blocking check of `subjects` is on record and passed.

    Raises DamagedFileError if a result on record is damaged.
    """
    results = read_checks(work.folder.checks, subjects)
    for result in results:
        require_pass(work.drop.key, result)
    found = {(result.asset, result.name, result.rank) for result in results}
    for asset, name, rank in expected_checks(work, subjects):
        if (asset, name, rank) not in found:
            raise CheckError(
                f"check {check_title(name, asset, rank)}: found no result for its present content; expected one that "
                f"passed. The results of drop {work.drop.key} are held back. Run `virnucpro materialize "
                f"{work.drop.key}`."
            )


def subjects_of_shards(index_digest: str, recipes: Mapping[EncoderKind, Recipe]) -> dict[str, str]:
    """What a merged view is made from."""
    return {
        "sequence_index": index_digest,
        **{f"{kind}_embeddings": recipe.digest for kind, recipe in recipes.items()},
    }


def subjects_of_merged(index_digest: str, merged: MergedManifest) -> dict[str, str]:
    """What predictions and training sets are made from."""
    return {**subjects_of_shards(index_digest, merged.recipes), "merged_embeddings": merged.digest}


def subjects_of_predictions(predictions: TablesManifest) -> dict[str, str]:
    """What calls are made from."""
    return _subjects_of_tables(predictions) | {"predictions": predictions.digest}


def subjects_of_calls(calls: TablesManifest) -> dict[str, str]:
    """What a report is made from."""
    return _subjects_of_tables(calls) | {"predictions": calls.inputs["predictions"]}


def _subjects_of_tables(tables: TablesManifest) -> dict[str, str]:
    return {
        "sequence_index": tables.inputs["index"],
        **{f"{kind}_embeddings": tables.inputs[f"recipe of {kind}"] for kind in ENCODER_KINDS},
        "merged_embeddings": tables.inputs["merged_embeddings"],
    }


def expected_checks(work: DropWork, subjects: Subjects) -> Iterator[tuple[str, str, int | None]]:
    """The blocking checks of these assets: asset, name, and the rank where there are ranks."""
    for rule in check_rules(work.settings):
        if rule.blocking and rule.asset in subjects:
            for rank in range(work.index.manifest.ranks) if rule.by_rank else (None,):
                yield rule.asset, rule.name, rank
