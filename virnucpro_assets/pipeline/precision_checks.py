"""Checks of precision: stored embeddings against the sample that the embed stage computed in other ways.

What is stored was computed packed, in the precision in use; the sample in float32, in float16, and one sequence at a
time (see `check_sample.py`). Embeddings are compared by cosine, and what the classifier makes of them by label.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.checks.results import FLOAT16, PACKED, PRECISION_IN_USE, CheckResult
from virnucpro_assets.checks.rules import CheckRule, precision_rules
from virnucpro_assets.checks.samples import ChunkSample, sample_chunks
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork, fitting_merged
from virnucpro_assets.errors import counted
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.check_sample import WAYS, Way, fitting_check_sample, precision_of, sample_origin
from virnucpro_assets.storage.merged import quarantined_rows
from virnucpro_assets.storage.merged_reader import read_merged_at
from virnucpro_assets.storage.provenance import finite_rows
from virnucpro_assets.storage.tables import TABLES_MANIFEST, TablesManifest
from virnucpro_assets.vocabulary import Precision

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """How near embeddings are to their reference, over sequences and over labels."""

    cosines: npt.NDArray[np.float64]
    largest_difference: float
    candidate_agreement: float
    chunk_agreement: float

    @property
    def min_cosine(self) -> float:
        return float(self.cosines.min(initial=1.0))

    @property
    def figures(self) -> dict[str, int | float | str]:
        return {
            "sequences": len(self.cosines),
            "min_cosine": self.min_cosine,
            "cosine_1st_percentile": float(np.percentile(self.cosines, 1)) if len(self.cosines) else 1.0,
            "largest_difference": self.largest_difference,
            "candidate_label_agreement": self.candidate_agreement,
            "chunk_label_agreement": self.chunk_agreement,
        }


def check_precision(work: DropWork) -> Iterator[CheckResult]:
    """Compare the stored embeddings with the stored sample; yields the results of PRECISION_CHECKS.

    Raises IntegrityError if what is stored was made under other settings, or if there is no sample of it.
    """
    with recorded_stage(work.folder.stages, "precision_checks") as figures:
        subject = read_manifest(work.folder.predictions / TABLES_MANIFEST, TablesManifest).digest
        results = [result.model_copy(update={"subject": subject}) for result in _compare_sample(work)]
        figures["sequences"] = max(int(result.figures.get("sequences", 0)) for result in results)
    yield from results


def _compare_sample(work: DropWork) -> Iterator[CheckResult]:
    folder, in_use = work.folder.path, work.settings.precision
    merged = fitting_merged(work)
    quarantined = quarantined_rows(folder, merged)
    again = fitting_check_sample(folder, sample_origin(merged.recipes, quarantined))
    left_out = {row for rows in quarantined.values() for row in rows.tolist()}
    sample = sample_chunks(work.index, again.chunks, without=left_out)
    stored = (
        read_merged_at(folder, sample.rows, work.verified) if len(sample.rows) else again.embeddings["alone"]
    )
    alone, half, exact = (_finite(sample, way, in_use, again.embeddings[way]) for way in WAYS)
    rules = precision_rules(work.settings)
    for name, rows, against, note in [
        (PRECISION_IN_USE, stored, exact, f"stored rows, {in_use}"),
        (FLOAT16, half, exact, "computed again, float16"),
        (PACKED, stored, alone, f"stored rows against one at a time, {in_use}"),
    ]:
        if isinstance(rows, str) or isinstance(against, str):
            yield _failed(rules[name], note, rows if isinstance(rows, str) else str(against))
        else:
            yield _judge(work.settings, rules[name], compare(work, sample, rows, against), note)


def compare(work: DropWork, sample: ChunkSample, rows: Floats, reference: Floats) -> Comparison:
    """Compare merged rows [n, d_dna + d_protein] of a sample with their reference.

    Cosines are computed in float64, for the DNA and the protein half of each row by itself; there is no protein
    half of a whole chunk. Labels are those of the classifier in use that agrees least, of what it scores.
    """
    split = work.encoders["dnabert_s"].width
    has_protein = _has_protein(work, sample)
    halves = [
        (rows[:, :split], reference[:, :split]),
        (rows[has_protein, split:], reference[has_protein, split:]),
    ]
    cosines = np.concatenate([_cosines(found, expected) for found, expected in halves])
    agreements = [
        _agreement(sample, found, expected)
        for found, expected in zip(_scores(work, sample, rows), _scores(work, sample, reference), strict=True)
    ]
    return Comparison(
        cosines=cosines,
        largest_difference=float(np.abs(rows - reference).max(initial=0.0)),
        candidate_agreement=min(of_candidates for of_candidates, _ in agreements),
        chunk_agreement=min(of_chunks for _, of_chunks in agreements),
    )


def _finite(sample: ChunkSample, way: Way, in_use: Precision, embeddings: Floats) -> Floats | str:
    """The sample's merged rows in one way, or why there are none: NaN or Inf."""
    lost = np.flatnonzero(~finite_rows(embeddings))
    if not len(lost):
        return embeddings
    first, precision = sample.rows[lost[0]], precision_of(way, in_use)
    return f"NaN or Inf in {counted(len(lost), 'embedding')} of {precision}, the first at row {first} of the index"


def _judge(settings: Settings, rule: CheckRule, comparison: Comparison, note: str) -> CheckResult:
    agreement = min(comparison.candidate_agreement, comparison.chunk_agreement)
    passed = comparison.min_cosine >= settings.min_cosine and agreement >= settings.min_label_agreement
    if rule.name == PACKED and settings.precision == "float32":
        passed = passed and comparison.largest_difference <= settings.max_packed_difference
    return CheckResult(
        asset=rule.asset,
        name=rule.name,
        passed=bool(passed),
        threshold=rule.threshold,
        blocking=rule.blocking,
        figures={"compared": note, **comparison.figures},
    )


def _failed(rule: CheckRule, note: str, reason: str) -> CheckResult:
    return CheckResult(
        asset=rule.asset,
        name=rule.name,
        passed=False,
        threshold="finite values",
        blocking=rule.blocking,
        figures={"compared": note, "reason": reason},
    )


def _has_protein(work: DropWork, sample: ChunkSample) -> npt.NDArray[np.bool_]:
    """bool [n]: which rows of a sample have a protein, and are not whole chunks."""
    return sample.rows < work.index.manifest.rows_with_protein


def _scores(work: DropWork, sample: ChunkSample, rows: Floats) -> list[Floats]:
    """Scores [n, 2] of a sample's merged rows by each classifier in use, NaN for what it does not score."""
    # torch stays out of the import path of whoever only describes the checks.
    from virnucpro_assets.calling.scoring import Scorer  # noqa: PLC0415

    index = work.index.manifest
    routing = classifiers_in_use(work.settings, index.chunk_length, index)
    d_dna = work.encoders["dnabert_s"].width
    scores = []
    for scorer in (Scorer.load(one.folder) for one in routing.named.values()):
        found = scorer.classifier.scores(scorer.part(rows, d_dna))
        if scorer.needs_protein:
            found[~_has_protein(work, sample)] = np.nan
        scores.append(found)
    return scores


def _agreement(sample: ChunkSample, found: Floats, expected: Floats) -> tuple[float, float]:
    """The shares of a sample's rows, and of its chunks, with equal labels; those without scores do not count."""
    is_scored = finite_rows(expected)
    of_rows = (found[:, 1] > found[:, 0]) == (expected[:, 1] > expected[:, 0])
    of_chunks = _chunk_labels(sample, found, is_scored) == _chunk_labels(sample, expected, is_scored)
    return _share(of_rows[is_scored]), _share(of_chunks)


def _chunk_labels(
    sample: ChunkSample, scores: Floats, is_scored: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    members = is_scored[sample.row]
    chunks, place = np.unique(sample.chunk[members], return_inverse=True)
    largest = np.zeros((len(chunks), 2), np.float32)
    np.maximum.at(largest, place, scores[sample.row[members]])
    return np.asarray(largest[:, 1] >= largest[:, 0])


def _cosines(found: Floats, expected: Floats) -> npt.NDArray[np.float64]:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def _share(equal: npt.NDArray[np.bool_]) -> float:
    return float(equal.mean()) if len(equal) else 1.0
