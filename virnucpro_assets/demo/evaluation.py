"""How well scores tell viruses from others: AUROC, its 95 % interval, and GC content beside it.

The area under the ROC curve is the chance that a virus read scores higher than another read, ties
counting half (Hanley & McNeil, Radiology 1982). Its variance is that of DeLong, DeLong & Clarke-
Pearson (Biometrics 1988), from midranks as in Sun & Xu (IEEE Signal Processing Letters 2014).
The GC content of a read is what a classifier must beat: its direction is fixed on the training
excerpts, so it cannot profit from knowing the answer. Plain numpy.

The interval takes reads as independent. Those of the demo overlap, so the true one is wider.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.excerpts import Excerpt, read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.demo.truth import Truth

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_NORMAL_975 = 1.959963984540054
_MISSING = float("nan")


@dataclass(frozen=True, slots=True)
class Auroc:
    """An area under the ROC curve with its 95 % interval, cut to 0 … 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores against the truth. Reads without a score are counted in `unscored` and left out."""

    viruses: int
    others: int
    unscored: int
    score: Auroc
    gc: Auroc


def auroc(scores: Floats, is_virus: Booleans) -> Auroc:
    """AUROC of float64 [n] `scores` for bool [n] `is_virus`, with DeLong's 95 % interval.

    Raises ValueError unless there are at least two viruses and two others, or if a score is NaN.
    """
    positive, negative = scores[is_virus], scores[~is_virus]
    if min(len(positive), len(negative)) < 2 or np.isnan(scores).any():
        raise ValueError(
            f"{len(positive)} viruses and {len(negative)} others, {np.isnan(scores).sum()} scores NaN; "
            "expected at least 2 of each and no NaN"
        )
    ranks = midranks(np.concatenate((positive, negative)))
    # The share of the other class that each read beats: its placement.
    of_positive = (ranks[: len(positive)] - midranks(positive)) / len(negative)
    of_negative = 1.0 - (ranks[len(positive) :] - midranks(negative)) / len(positive)
    value = float(of_positive.mean())
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    reach = _NORMAL_975 * float(np.sqrt(variance))
    return Auroc(value, max(0.0, value - reach), min(1.0, value + reach))


def midranks(values: Floats) -> Floats:
    """float64 [n]: ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def gc_content(bases: bytes) -> float:
    """The share of G and C among A, C, G and T; 0.5 when there is none of them."""
    upper = bases.upper()
    strong, weak = (sum(map(upper.count, letters)) for letters in ((b"G", b"C"), (b"A", b"T")))
    return strong / (strong + weak) if strong + weak else 0.5


def gc_direction(training: list[Excerpt]) -> int:
    """1 if the viruses among the excerpts have the higher GC content, else -1."""
    joined = {"virus": b"", "others": b""}
    for excerpt in training:
        joined[excerpt.label] += excerpt.letters.encode("ascii")
    return 1 if gc_content(joined["virus"]) > gc_content(joined["others"]) else -1


def evaluate(
    scores: Mapping[str, float],
    bases: Mapping[str, bytes],
    truth: Mapping[str, Truth],
    *,
    genome: str | None = None,
    data_folder: Path = DATA_FOLDER,
) -> Evaluation:
    """Compare a drop's scores by read id, the higher the more a virus, with the truth.

    `bases` gives the reads' letters for the baseline. With `genome`, only reads of seen or unseen
    genomes count. Artefacts never count; a read that is missing or NaN in `scores` is unscored.
    Raises ValueError as `auroc` does.
    """
    judged = [
        name
        for name, fact in truth.items()
        if fact.label != "artefact" and (genome is None or fact.genome == genome)
    ]
    scored = [name for name in judged if not np.isnan(scores.get(name, _MISSING))]
    is_virus = np.array([truth[name].label == "virus" for name in scored], np.bool_)
    gc = np.array([gc_content(bases[name]) for name in scored])
    direction = gc_direction(read_excerpts(data_folder, "training"))
    return Evaluation(
        viruses=int(is_virus.sum()),
        others=int((~is_virus).sum()),
        unscored=len(judged) - len(scored),
        score=auroc(np.array([scores[name] for name in scored]), is_virus),
        gc=auroc(direction * gc, is_virus),
    )
