"""The fourth stage of a drop: the score of every row, and the prediction of every member."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from virnucpro_assets.calling.fit import fitting_routing
from virnucpro_assets.calling.routing import Routing
from virnucpro_assets.checks.gate import require_passed, subjects_of_merged
from virnucpro_assets.demo.recognise import NOTE, demo_models
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork, fitting_merged
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.storage.prediction_tables import (
    PREDICTION_RESULTS_FILE,
    PREDICTIONS_FILE,
    PredictionSummary,
    write_predictions,
)
from virnucpro_assets.storage.scored_members import ScoredMembers
from virnucpro_assets.storage.tables import TablesManifest, write_tables_manifest

SCORES_FILE, DNA_SCORES_FILE = "scores.npy", "scores_short.npy"
PREDICTION_FILES = (PREDICTION_RESULTS_FILE, PREDICTIONS_FILE)

Scores = npt.NDArray[np.float32]


def predict_drop(work: DropWork) -> tuple[TablesManifest, PredictionSummary]:
    """Score every row of a drop and write one prediction a member, in the order of the input.

    Each classifier scores every row that has what it takes, because one row may occur in reads of any length;
    which scores count for a member is decided by the length of its read, and by whether it has a protein.

    Members of quarantined rows have no scores. VirNucPro's text file knows no missing number, so
    they are left out of the tables of predictions, and counted.

    Raises IntegrityError if the merged embeddings or a classifier do not fit the settings, InputError as
    `classifiers_in_use` does, CheckError if a check of what they are made from holds them back.
    """
    index, folder = work.index, work.folder.predictions
    with stage_lock(work, "predictions"), recorded_stage(work.folder.stages, "predictions") as figures:
        routing = fitting_routing(work)
        note = demo_note(work, routing)
        merged = fitting_merged(work)
        require_passed(work, subjects_of_merged(index.manifest.digest, merged))
        scores = score_rows(work, routing)
        for name, found in zip(score_files(routing), scores, strict=True):
            with atomic_file(folder / name) as stream:
                np.save(stream, found, allow_pickle=False)
        summary = write_predictions(
            scored_members(work, routing, scores), index.read_batches(), folder, routing.scored_by, note=note
        )
        inputs = {f"recipe of {kind}": recipe.digest for kind, recipe in merged.recipes.items()}
        inputs |= {"index": index.manifest.digest, "merged_embeddings": merged.digest, **routing.inputs}
        counts = {"members": summary.members, "virus": summary.virus, "not_scored": summary.not_scored}
        figures.update(counts)
        names = (*score_files(routing), *PREDICTION_FILES)
        tables = write_tables_manifest(folder, names, inputs, counts)
        if DNA_SCORES_FILE not in names:
            (folder / DNA_SCORES_FILE).unlink(missing_ok=True)
        return tables, summary


def score_files(routing: Routing) -> Sequence[str]:
    """The files of scores, in the order of the classifiers."""
    return (SCORES_FILE, DNA_SCORES_FILE)[: len(routing.named)]


def score_rows(work: DropWork, routing: Routing) -> list[Scores]:
    """float32 [rows, 2] by each classifier: P(others) and P(virus) of every row, in the order of the index.

    Raises IntegrityError as `scores_of_merged` does.
    """
    # torch stays out of the import path of whoever only describes the stages.
    from virnucpro_assets.calling.scoring import Scorer, scores_of_merged  # noqa: PLC0415

    scorers = [Scorer.load(one.folder) for one in routing.named.values()]
    with_protein = work.index.manifest.rows_with_protein
    return scores_of_merged(
        scorers, work.folder.path, work.report, with_protein=with_protein, verified=work.verified
    )


def demo_note(work: DropWork, routing: Routing) -> str:
    """What the tables and hits carry if any of the models is the demo's; else nothing."""
    folders = work.settings.model_folders() | {name: one.folder for name, one in routing.named.items()}
    return NOTE if demo_models(folders) else ""


def scored_members(work: DropWork, routing: Routing, scores: Sequence[Scores]) -> Iterator[ScoredMembers]:
    for batch, route in routing.routed_members(work.index):
        chosen = scores[0][batch.row]
        for place, others in enumerate(scores[1:], start=1):
            chosen[route == place] = others[batch.row[route == place]]
        yield ScoredMembers(batch.read, batch.chunk, batch.frame, chosen, route)
