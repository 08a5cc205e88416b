"""Calibration: the fit is the most likely one, and the error of scores is what their bins say."""

import numpy as np
import pytest

from virnucpro_assets.models.calibration import (
    ReliabilityBin,
    calibrated,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from virnucpro_assets.models.cards import Calibration


def drawn(count, slope, intercept, seed=5):
    """Scores of an overconfident classifier, and labels that follow a known calibration of them."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(0, 3, count)))
    truth = calibrated(scores, Calibration(slope=slope, intercept=intercept))
    return scores, random.random(count) < truth


def likelihood(scores, targets, slope, intercept):
    p = calibrated(scores, Calibration(slope=slope, intercept=intercept))
    return float((targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum())


def test_a_known_calibration_is_found_again():
    found = fit_calibration(*drawn(20_000, slope=0.4, intercept=-0.7))
    assert found.slope == pytest.approx(0.4, abs=0.02)
    assert found.intercept == pytest.approx(-0.7, abs=0.05)


def test_no_neighbour_of_the_fit_is_more_likely():
    scores, is_virus = drawn(300, slope=0.6, intercept=0.3)
    found = fit_calibration(scores, is_virus)
    viruses, others = is_virus.sum(), (~is_virus).sum()
    targets = np.where(is_virus, (viruses + 1) / (viruses + 2), 1 / (others + 2))
    best = likelihood(scores, targets, found.slope, found.intercept)
    for slope, intercept in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert likelihood(scores, targets, found.slope + slope, found.intercept + intercept) < best


def test_classes_that_do_not_overlap_and_certain_scores_give_a_finite_fit():
    found = fit_calibration(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]))
    # The smoothed targets: 3/4 for viruses and 1/4 for others.
    assert calibrated(np.array([0.0, 1.0]), found) == pytest.approx([0.25, 0.75], abs=1e-6)


def test_calibration_lowers_the_expected_calibration_error():
    scores, is_virus = drawn(5_000, slope=0.4, intercept=-0.7)
    fresh, truth = drawn(5_000, slope=0.4, intercept=-0.7, seed=6)
    after = calibrated(fresh, fit_calibration(scores, is_virus))
    before = expected_calibration_error(reliability(fresh, truth))
    assert before > 0.15
    assert expected_calibration_error(reliability(after, truth)) < 0.03


def test_calibrated_follows_the_formula_and_keeps_nan():
    found = calibrated(np.array([0.5, 0.8, np.nan], np.float32), Calibration(slope=2.0, intercept=1.0))
    logit = np.log(np.float64(np.float32(0.8)) / (1 - np.float64(np.float32(0.8))))
    assert found[:2] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-(2 * logit + 1)))], abs=1e-12)
    assert np.isnan(found[2])


def test_bins_count_every_score_and_their_error_is_the_weighted_distance():
    scores = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    is_virus = np.array([False, False, True, True, True])
    bins = reliability(scores, is_virus)
    assert bins == [
        ReliabilityBin(0.0, 0.1, 1, 0.05, 0.0),
        ReliabilityBin(0.1, 0.2, 2, 0.15, 0.5),
        ReliabilityBin(0.9, 1.0, 2, 0.975, 1.0),
    ]
    assert expected_calibration_error(bins) == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5, abs=1e-12)


def test_one_class_alone_cannot_be_calibrated():
    with pytest.raises(ValueError, match="3 viruses and 0 others"):
        fit_calibration(np.full(3, 0.5), np.ones(3, bool))
