"""Stages of a drop, second half: scores, predictions, and calls."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.recognise import NOTE, demo_models
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.pipeline.claims import claimed
from virnucpro_assets.pipeline.embeddings import fitting_merged
from virnucpro_assets.pipeline.fit import fitting_routing
from virnucpro_assets.pipeline.gate import require_passed, subjects_of_merged, subjects_of_predictions
from virnucpro_assets.pipeline.routing import Routing, check_scored_by, classifiers_in_use
from virnucpro_assets.pipeline.stages import recorded_stage
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.storage.call_tables import (
    CHUNK_CALLS_FILE,
    CONSENSUS_FILE,
    CONTIG_CALLS_FILE,
    READ_CALLS_FILE,
    write_calls,
)
from virnucpro_assets.storage.calls import CALLS, VIRAL
from virnucpro_assets.storage.hits import HITS_FILE, write_hits
from virnucpro_assets.storage.prediction_tables import (
    PREDICTION_RESULTS_FILE,
    PREDICTIONS_FILE,
    PredictionSummary,
    write_predictions,
)
from virnucpro_assets.storage.scored_members import ScoredMembers
from virnucpro_assets.storage.tables_manifest import TablesManifest, read_tables, write_tables_manifest

SCORES_FILE, SHORT_SCORES_FILE = "scores.npy", "scores_short.npy"
PREDICTION_FILES = (PREDICTION_RESULTS_FILE, PREDICTIONS_FILE)
READS_BY_ROUTE = "called reads scored by"
"""Before the name of a route: what the calls' manifest counts."""

CALL_FILES = (CONSENSUS_FILE, CONTIG_CALLS_FILE, CHUNK_CALLS_FILE, READ_CALLS_FILE, HITS_FILE)

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
    with claimed(work, "predictions"), recorded_stage(work.folder.stages, "predictions") as figures:
        routing = fitting_routing(work)
        note = _note(work, routing)
        merged = fitting_merged(work)
        require_passed(work, subjects_of_merged(index.manifest.digest, merged))
        scores = score_rows(work, routing)
        for name, found in zip(score_files(routing), scores, strict=True):
            with atomic_file(folder / name) as stream:
                np.save(stream, found, allow_pickle=False)
        summary = write_predictions(
            _scored_members(work, routing, scores), index.read_batches(), folder, routing.scored_by, note=note
        )
        inputs = {f"recipe of {kind}": recipe.digest for kind, recipe in merged.recipes.items()}
        inputs |= {"index": index.manifest.digest, "merged_embeddings": merged.digest, **routing.inputs}
        counts = {"members": summary.members, "virus": summary.virus, "not_scored": summary.not_scored}
        figures.update(counts)
        names = (*score_files(routing), *PREDICTION_FILES)
        tables = write_tables_manifest(folder, names, inputs, counts)
        if SHORT_SCORES_FILE not in names:
            (folder / SHORT_SCORES_FILE).unlink(missing_ok=True)
        return tables, summary


def score_files(routing: Routing) -> Sequence[str]:
    """The files of scores, in the order of the classifiers."""
    return (SCORES_FILE, SHORT_SCORES_FILE)[: len(routing.named)]


def score_rows(work: DropWork, routing: Routing) -> list[Scores]:
    """float32 [rows, 2] by each classifier: P(others) and P(virus) of every row, in the order of the index.

    Raises IntegrityError as `scores_of_merged` does.
    """
    # torch stays out of the import path of whoever only describes the stages.
    from virnucpro_assets.pipeline.scoring import Scorer, scores_of_merged  # noqa: PLC0415

    scorers = [Scorer.load(one.folder) for one in routing.named.values()]
    with_protein = work.index.manifest.rows_with_protein
    return scores_of_merged(scorers, work.folder.path, work.report, with_protein=with_protein)


def call_drop(work: DropWork) -> TablesManifest:
    """Write the calls per chunk and per read or contig, and the hits as FASTA.

    A read is called on the candidates that have scores. One that has candidates but none with a
    score gets no call and the reason `not_scored`, and is in neither of VirNucPro's text files.

    Raises IntegrityError if the predictions are of another index or by other classifiers, or a file of
    the drop changed since it was listed; InputError as `classifiers_in_use` does; CheckError if a check of
    the predictions, or of what they were made from, holds them back.
    """
    index, folder = work.index, work.folder.calls
    with claimed(work, "calls"), recorded_stage(work.folder.stages, "calls") as figures:
        predictions = read_tables(work.folder.predictions)
        if predictions.inputs["index"] != index.manifest.digest:
            raise IntegrityError(
                f"{work.folder.predictions}: found predictions of index {predictions.inputs['index']}; "
                f"expected {index.manifest.digest}. Materialise predictions again."
            )
        routing = classifiers_in_use(work.settings, index.manifest.chunk_length, index.manifest)
        check_scored_by(work.folder.predictions, predictions, routing)
        require_passed(work, subjects_of_predictions(predictions))
        note = _note(work, routing)
        scores = [
            np.load(work.folder.predictions / name, mmap_mode="r", allow_pickle=False)
            for name in score_files(routing)
        ]
        summary = write_calls(
            _scored_members(work, routing, scores),
            index.read_batches(),
            folder,
            work.settings.calls,
            routing.scored_by,
            note=note,
        )
        work.drop.check_files()
        chosen = work.drop.source.min_score
        min_score = work.settings.min_score if chosen is None else chosen
        hits = write_hits(
            read_batches(work.drop.read_files),
            folder / READ_CALLS_FILE,
            folder / HITS_FILE,
            min_score=min_score,
            note=note,
        )
        figures.update({"reads": summary.reads, "hits": hits})
        counts = {
            "reads": summary.reads,
            "called_reads": summary.called_reads,
            "chunks": summary.chunks,
            "virus_chunks": summary.virus_chunks,
            "viral_reads": sum(summary.calls[CALLS[VIRAL]].values()),
            "hits": hits,
            "not_scored_members": predictions.counts["not_scored"],
            "not_scored_reads": summary.reasons.get("not_scored", 0),
        }
        counts |= {f"{call}, {tier}": n for call, tiers in summary.calls.items() for tier, n in tiers.items()}
        counts |= {f"{READS_BY_ROUTE} {route}": count for route, count in summary.routes.items()}
        inputs = {**predictions.inputs, "predictions": predictions.digest, "min_score": str(min_score)}
        inputs |= routing.inputs_of_calls
        return write_tables_manifest(folder, CALL_FILES, inputs, counts)


def _note(work: DropWork, routing: Routing) -> str:
    """What the tables and hits carry if any of the models is the demo's; else nothing."""
    folders = work.settings.model_folders() | {name: one.folder for name, one in routing.named.items()}
    return NOTE if demo_models(folders) else ""


def _scored_members(work: DropWork, routing: Routing, scores: Sequence[Scores]) -> Iterator[ScoredMembers]:
    for batch, route in routing.routed_members(work.index):
        chosen = scores[0][batch.row]
        for place, others in enumerate(scores[1:], start=1):
            chosen[route == place] = others[batch.row[route == place]]
        yield ScoredMembers(batch.read, batch.chunk, batch.frame, chosen, route)
