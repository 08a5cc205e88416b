"""Calibration: from raw scores to probabilities, and the calibration error of scores.

A sigmoid of the score's logit is fitted by maximum likelihood (Platt, Advances in Large Margin
Classifiers 1999, with his targets, which keep the fit finite where the classes do not overlap), by
Newton's method with backtracking (Lin, Lin & Weng, Machine Learning 2007). Plain numpy, no torch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import counted
from virnucpro_assets.models.cards import Calibration

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

NEAREST = 1e-7
"""Scores are float32: probabilities nearer to 0 or 1 than this are clipped."""

_STEPS = 100
_SMALLEST_STEP = 1e-10
_RIDGE = 1e-12


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The scores from `low` up to `high`: how many, their mean, and the share of viruses among them."""

    low: float
    high: float
    count: int
    mean_score: float
    virus_share: float


def calibrated(scores: npt.NDArray[np.floating], calibration: Calibration) -> Floats:
    """float64, of the same shape: the calibrated P(virus) of raw ones; NaN stays NaN."""
    return _sigmoid(calibration.slope * _logit(scores) + calibration.intercept)


def fit_calibration(scores: Floats, is_virus: Booleans) -> Calibration:
    """The calibration of the scores [n] with the largest likelihood of bool [n] `is_virus`.

    The scores must be of rows that the classifier was not trained on. Raises ValueError unless both classes occur.
    """
    viruses, others = int(is_virus.sum()), int((~is_virus).sum())
    if not viruses or not others:
        raise ValueError(f"{counted(viruses, 'virus')} and {counted(others, 'other')}; expected some of each")
    targets = np.where(is_virus, (viruses + 1) / (viruses + 2), 1 / (others + 2))
    logits = _logit(scores)
    design = np.stack((logits, np.ones(len(logits))), axis=1)
    weights = np.array([0.0, np.log((viruses + 1) / (others + 1))])
    loss = _loss(design @ weights, targets)
    for _ in range(_STEPS):
        predicted = _sigmoid(design @ weights)
        gradient = design.T @ (predicted - targets)
        if np.abs(gradient).max() < 1e-8 * len(targets):
            break
        curvature = design.T @ (design * (predicted * (1 - predicted))[:, None])
        direction = np.linalg.solve(curvature + _RIDGE * np.eye(2), gradient)
        step = 1.0
        while step > _SMALLEST_STEP and not _loss(design @ (weights - step * direction), targets) < loss:
            step /= 2
        if step <= _SMALLEST_STEP:
            break
        weights -= step * direction
        loss = _loss(design @ weights, targets)
    return Calibration(
        slope=float(weights[0]), intercept=float(weights[1]), virus_share=viruses / (viruses + others)
    )


def reliability(scores: Floats, is_virus: Booleans, bins: int = 10) -> list[ReliabilityBin]:
    """Bins of equal width over P(virus) from 0 to 1; empty ones are left out."""
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            low=one / bins,
            high=(one + 1) / bins,
            count=int((index == one).sum()),
            mean_score=float(scores[index == one].mean()),
            virus_share=float(is_virus[index == one].mean()),
        )
        for one in np.unique(index).tolist()
    ]


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """The mean distance of score and share of viruses in the bins, weighted by their counts.

    As in Naeini, Cooper & Hauskrecht (AAAI 2015); 0 without any score.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.mean_score - one.virus_share) for one in bins) / max(1, total)


def _logit(scores: npt.NDArray[np.floating]) -> Floats:
    inside = np.clip(scores.astype(np.float64), NEAREST, 1 - NEAREST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def _loss(logits: Floats, targets: Floats) -> float:
    """Cross-entropy of the sigmoid of `logits`, in nats, summed."""
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())
