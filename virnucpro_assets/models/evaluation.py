"""The quality of scores: AUROC with its interval, ROC curve, precision, recall, thresholds.

The area under the ROC curve is the chance that a virus scores higher than something else, ties
counting half (Hanley & McNeil, Radiology 1982). Its variance is that of DeLong, DeLong & Clarke-
Pearson (Biometrics 1988), from midranks as in Sun & Xu (IEEE Signal Processing Letters 2014); the
interval assumes independent rows. Plain numpy, no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import counted
from virnucpro_assets.models.cards import Threshold

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_NORMAL_975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Auroc:
    """An area under the ROC curve with its 95 % interval, cut to 0 … 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Calls and true classes: counts, and the shares computed from them."""

    true_virus: int
    false_virus: int
    true_others: int
    false_others: int

    @property
    def accuracy(self) -> float:
        """Share of correct calls; 0 without any."""
        right = self.true_virus + self.true_others
        return _share(right, right + self.false_virus + self.false_others)

    @property
    def precision(self) -> float:
        """Share of viruses among what is called virus; 0 if nothing is."""
        return _share(self.true_virus, self.true_virus + self.false_virus)

    @property
    def recall(self) -> float:
        """Share of the viruses that are called virus; 0 if there is none."""
        return _share(self.true_virus, self.true_virus + self.false_others)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if both are."""
        return _share(2 * self.true_virus, 2 * self.true_virus + self.false_virus + self.false_others)


def auroc(scores: Floats, is_virus: Booleans) -> Auroc:
    """AUROC of float64 [n] `scores` for bool [n] `is_virus`, with DeLong's 95 % interval.

    Raises ValueError unless there are at least two viruses and two others, or if a score is NaN.
    """
    positive, negative = scores[is_virus], scores[~is_virus]
    if min(len(positive), len(negative)) < 2 or np.isnan(scores).any():
        raise ValueError(
            f"{counted(len(positive), 'virus')} and {counted(len(negative), 'other')}, {np.isnan(scores).sum()} NaN; "
            "expected at least 2 of each and no NaN"
        )
    ranks = midranks(np.concatenate((positive, negative)))
    # Its placement: the share of the other class with a lower score.
    of_positive = (ranks[: len(positive)] - midranks(positive)) / len(negative)
    of_negative = 1.0 - (ranks[len(positive) :] - midranks(negative)) / len(positive)
    value = float(of_positive.mean())
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    reach = _NORMAL_975 * float(np.sqrt(variance))
    return Auroc(value, max(0.0, value - reach), min(1.0, value + reach))


def midranks(values: Floats) -> Floats:
    """float64 [n]: ranks from 1, equal values sharing the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[index], np.float64)


def confusion(called_virus: Booleans, is_virus: Booleans) -> Confusion:
    """Bool [n] calls against the truth."""
    return Confusion(
        true_virus=int((called_virus & is_virus).sum()),
        false_virus=int((called_virus & ~is_virus).sum()),
        true_others=int((~called_virus & ~is_virus).sum()),
        false_others=int((~called_virus & is_virus).sum()),
    )


def roc_points(scores: Floats, is_virus: Booleans, most: int = 200) -> list[tuple[float, float]]:
    """The ROC curve from (0, 0) to (1, 1): shares of the others and of the viruses at or above each score.

    At most about `most` points: those between are left out evenly. Raises ValueError without both classes.
    """
    if is_virus.all() or not is_virus.any():
        raise ValueError("a ROC curve needs viruses and others")
    _, viruses, all_called = _from_highest(scores, is_virus)
    chosen = np.unique(np.linspace(0, len(viruses) - 1, min(most, len(viruses))).round().astype(np.int64))
    of_virus = viruses[chosen] / is_virus.sum()
    of_others = (all_called - viruses)[chosen] / (~is_virus).sum()
    return [(0.0, 0.0), *zip(of_others.tolist(), of_virus.tolist(), strict=True)]


def thresholds(
    scores: Floats, is_virus: Booleans, wanted: Sequence[float] = (0.9, 0.95, 0.99)
) -> tuple[Threshold, ...]:
    """For each wanted precision the lowest of the scores from which on it is reached, with the recall there.

    Scores are P(virus), 0 to 1. A precision that is reached nowhere is left out.
    """
    values, viruses, all_called = _from_highest(scores, is_virus)
    precision = viruses / all_called
    found = []
    for one in sorted(wanted):
        reached = np.flatnonzero((precision >= one) & (viruses > 0))
        if len(reached):
            last = int(reached[-1])
            recall = float(viruses[last] / is_virus.sum())
            found.append(Threshold(precision=one, least=float(values[last]), recall=recall))
    return tuple(found)


def _from_highest(
    scores: Floats, is_virus: Booleans
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each distinct score, falling, with how many viruses and how many in all score at least so much."""
    values, index = np.unique(-scores, return_inverse=True)
    of_virus = np.bincount(index[is_virus], minlength=len(values))
    of_all = np.bincount(index, minlength=len(values))
    return -values, np.cumsum(of_virus), np.cumsum(of_all)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
