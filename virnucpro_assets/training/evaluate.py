"""Evaluating a classifier on the test split, together with the one in use, and the check that compares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.calibration import calibrated, expected_calibration_error, reliability
from virnucpro_assets.models.cards import CARD_FILE, Calibration, ClassifierCard, read_card
from virnucpro_assets.models.classifier import Classifier, load_classifier
from virnucpro_assets.models.evaluation import auroc, confusion, roc_points
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.reports.classifier_report import ComparedFigures, GroupFigures
from virnucpro_assets.storage.training_set import LabelledRows, TrainingSetManifest

CHECK = "not_worse_than_in_use"
CHECKED = "classifier_evaluation"
LENGTHS = (0, 150, 200, 300, 500)
"""The lower bounds of the groups of read lengths, in bases."""

Scores = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """The figures of the classifier in use on the test split, or why there are none."""

    figures: ComparedFigures | None
    why_not: str = ""


def virus_scores(classifier: Classifier, rows: npt.NDArray[np.float32]) -> Scores:
    """float64 [n]: P(virus) of each row."""
    return classifier.scores(rows)[:, 1].astype(np.float64)


def groups_of(scores: Scores, rows: LabelledRows, calibration: Calibration) -> Iterator[GroupFigures]:
    """The figures of all rows, then of each group of read lengths that occurs."""
    everything = np.ones(len(scores), np.bool_)
    yield _group("all", everything, scores, rows.is_virus, calibration)
    for start, stop in zip(LENGTHS, (*LENGTHS[1:], None), strict=True):
        within = rows.read_length >= start
        name = f"{start} bases and more"
        if stop is not None:
            within &= rows.read_length < stop
            name = f"{start} to {stop - 1} bases" if start else f"under {stop} bases"
        if within.any():
            yield _group(name, within, scores, rows.is_virus, calibration)


def compare_with_in_use(folder: Path, manifest: TrainingSetManifest, test: LabelledRows) -> Compared:
    """The classifier in `folder`, which is in use, on the rows of a test split.

    Raises IntegrityError if it is damaged.
    """
    if not (folder / CARD_FILE).exists():
        return Compared(None, "no classifier was in use")
    card = read_card(folder)
    if why_not := _mismatch(card, manifest):
        return Compared(None, f"the one in use, {folder.name}, {why_not}, so nothing could be compared")
    classifier, _ = load_classifier(folder)
    scores = virus_scores(classifier, test.embeddings[:, card.columns(manifest.widths["dnabert_s"])])
    figures = ComparedFigures(
        name=folder.name,
        digest=sha256_of_file(folder / WEIGHTS_FILE),
        auroc=auroc(scores, test.is_virus).value,
        f1=confusion(scores > 0.5, test.is_virus).f1,
        roc=roc_points(scores, test.is_virus),
    )
    return Compared(figures)


def not_worse(new: GroupFigures, compared: Compared, margin: float, digest: str) -> CheckResult:
    """Neither AUROC nor F1 of a new classifier is more than `margin` below that of the one in use."""
    figures: dict[str, int | float | str] = {"auroc": new.auroc or 0.0, "f1": new.f1}
    passed = True
    if in_use := compared.figures:
        figures |= {"auroc_in_use": in_use.auroc, "f1_in_use": in_use.f1, "in_use": in_use.name}
        passed = (new.auroc or 0.0) >= in_use.auroc - margin and new.f1 >= in_use.f1 - margin
    else:
        figures["note"] = compared.why_not
    return CheckResult(
        asset=CHECKED,
        name=CHECK,
        passed=passed,
        threshold=f"AUROC and F1 at most {margin} below those of the classifier in use, on the same test rows",
        figures={
            name: round(value, 6) if isinstance(value, float) else value for name, value in figures.items()
        },
        subject=digest,
    )


def verdict_of(check: CheckResult) -> str:
    """What the check found, as a sentence."""
    found = check.figures
    new = f"AUROC {found['auroc']:.3f} and F1 {found['f1']:.3f}"
    if "in_use" not in found:
        return f"{new} on the test split; {found['note']}."
    than = f"{found['auroc_in_use']:.3f} and {found['f1_in_use']:.3f} of {found['in_use']}, the one in use"
    return f"{new} on the test split, against {than}: {'not worse' if check.passed else 'worse'}."


def _mismatch(card: ClassifierCard, manifest: TrainingSetManifest) -> str:
    """Why a classifier cannot score the rows of a training set; empty if it can."""
    for kind in card.used_encoders:
        digest = manifest.encoders[kind]
        if card.widths[kind] != manifest.widths[kind] or card.encoders.get(kind, digest) != digest:
            return f"is for another {kind}"
    return ""


def _group(
    name: str, within: Booleans, scores: Scores, is_virus: Booleans, calibration: Calibration
) -> GroupFigures:
    scores, is_virus = scores[within], is_virus[within]
    found = confusion(scores > 0.5, is_virus)
    viruses, others = int(is_virus.sum()), int((~is_virus).sum())
    area = auroc(scores, is_virus) if min(viruses, others) >= 2 else None
    return GroupFigures(
        name=name,
        viruses=viruses,
        others=others,
        accuracy=found.accuracy,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        calibration_error=expected_calibration_error(reliability(calibrated(scores, calibration), is_virus)),
        auroc=area and area.value,
        auroc_low=area and area.low,
        auroc_high=area and area.high,
    )
