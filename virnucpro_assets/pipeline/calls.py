"""Stages of a drop, second half: scores, predictions, and calls."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.pipeline.claims import claimed
from virnucpro_assets.pipeline.embeddings import fitting_merged
from virnucpro_assets.pipeline.fit import fitting_card
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

SCORES_FILE = "scores.npy"
PREDICTION_FILES = (PREDICTION_RESULTS_FILE, PREDICTIONS_FILE)
CALL_FILES = (CONSENSUS_FILE, CONTIG_CALLS_FILE, CHUNK_CALLS_FILE, READ_CALLS_FILE, HITS_FILE)

Scores = npt.NDArray[np.float32]


def predict_drop(work: DropWork) -> tuple[TablesManifest, PredictionSummary]:
    """Score every row of a drop and write one prediction a member, in the order of the input.

    Members of quarantined rows have no scores. VirNucPro's text file knows no missing number, so
    they are left out of the tables of predictions, and counted.

    Raises IntegrityError if the merged embeddings or the classifier do not fit the settings.
    """
    index, folder = work.index, work.folder.predictions
    with claimed(work, "predictions"), recorded_stage(work.folder.stages, "predictions") as figures:
        fitting_card(work.settings, index.manifest.chunk_length, work.encoders)
        merged = fitting_merged(work)
        scores = score_rows(work)
        with atomic_file(folder / SCORES_FILE) as stream:
            np.save(stream, scores, allow_pickle=False)
        summary = write_predictions(_scored_members(work, scores), index.read_batches(), folder)
        inputs = {f"recipe of {kind}": recipe.digest for kind, recipe in merged.recipes.items()}
        inputs |= {
            "index": index.manifest.digest,
            "merged_embeddings": merged.digest,
            "classifier": classifier_digest(work),
        }
        counts = {"members": summary.members, "virus": summary.virus, "not_scored": summary.not_scored}
        figures.update(counts)
        return write_tables_manifest(folder, (SCORES_FILE, *PREDICTION_FILES), inputs, counts), summary


def score_rows(work: DropWork) -> Scores:
    """float32 [rows, 2]: P(others) and P(virus) of every row, in the order of the index.

    NaN in the rows that are quarantined for either encoder and in no other. Raises IntegrityError,
    naming the row, for NaN in other embeddings or if the classifier gives no number.
    """
    # torch stays out of the import path of whoever only describes the stages.
    from virnucpro_assets.models.classifier import load_classifier  # noqa: PLC0415
    from virnucpro_assets.pipeline.scoring import scores_of_merged  # noqa: PLC0415

    folder = work.settings.classifier_folder(work.index.manifest.chunk_length)
    classifier, _ = load_classifier(folder)
    return scores_of_merged(classifier, folder, work.folder.path, work.report)


def classifier_digest(work: DropWork) -> str:
    """SHA-256 of the weights of the classifier in use."""
    return sha256_of_file(work.settings.classifier_folder(work.index.manifest.chunk_length) / WEIGHTS_FILE)


def call_drop(work: DropWork) -> TablesManifest:
    """Write the calls per chunk and per read or contig, and the hits as FASTA.

    A read is called on the candidates that have scores. One that has candidates but none with a
    score gets no call and the reason `not_scored`, and is in neither of VirNucPro's text files.

    Raises IntegrityError if the predictions are of another index, or a file of the drop changed
    since it was listed.
    """
    index, folder = work.index, work.folder.calls
    with claimed(work, "calls"), recorded_stage(work.folder.stages, "calls") as figures:
        predictions = read_tables(work.folder.predictions)
        if predictions.inputs["index"] != index.manifest.digest:
            raise IntegrityError(
                f"{work.folder.predictions}: found predictions of index {predictions.inputs['index']}; "
                f"expected {index.manifest.digest}. Materialise predictions again."
            )
        scores = np.load(work.folder.predictions / SCORES_FILE, mmap_mode="r", allow_pickle=False)
        summary = write_calls(
            _scored_members(work, scores), index.read_batches(), folder, work.settings.calls
        )
        work.drop.check_files()
        chosen = work.drop.source.min_score
        min_score = work.settings.min_score if chosen is None else chosen
        hits = write_hits(
            read_batches(work.drop.read_files),
            folder / READ_CALLS_FILE,
            folder / HITS_FILE,
            min_score=min_score,
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
        inputs = {**predictions.inputs, "predictions": predictions.digest, "min_score": str(min_score)}
        return write_tables_manifest(folder, CALL_FILES, inputs, counts)


def _scored_members(work: DropWork, scores: Scores) -> Iterator[ScoredMembers]:
    for batch in work.index.member_batches():
        yield ScoredMembers(batch.read, batch.chunk, batch.frame, scores[batch.row])
