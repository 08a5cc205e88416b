"""AUROC, its interval, ROC curve, precision and thresholds against values known or found by brute force."""

import math

import numpy as np
import pytest

from virnucpro_assets.models.cards import Threshold
from virnucpro_assets.models.evaluation import (
    Auroc,
    Confusion,
    auroc,
    confusion,
    midranks,
    roc_points,
    thresholds,
)

NAN = float("nan")


def placements(own, foreign):
    """By DeLong's definition: the share of `foreign` below each of `own`, ties counting half."""
    return ((own[:, None] > foreign) + 0.5 * (own[:, None] == foreign)).mean(axis=1)


def test_midranks_share_the_mean_of_equal_values():
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]


def test_the_textbook_case_of_four_scores_is_three_quarters():
    found = auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    assert found.value == 0.75


def test_scores_that_part_the_classes_have_area_one_and_no_width():
    scores, is_virus = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert auroc(scores, is_virus) == Auroc(1.0, 1.0, 1.0)
    assert auroc(-scores, is_virus) == Auroc(0.0, 0.0, 0.0)


def test_equal_scores_have_area_one_half():
    assert auroc(np.zeros(6), np.arange(6) < 2) == Auroc(0.5, 0.5, 0.5)


def test_value_and_interval_follow_the_definition_by_pairs():
    random = np.random.default_rng(11)
    is_virus = random.random(70) < 0.4
    scores = np.round(random.normal(size=70) + is_virus, 1)
    viruses, others = scores[is_virus], scores[~is_virus]
    above, below = placements(viruses, others), 1.0 - placements(others, viruses)
    spread = math.sqrt(np.var(above, ddof=1) / len(viruses) + np.var(below, ddof=1) / len(others))
    found = auroc(scores, is_virus)
    assert found.value == pytest.approx(above.mean(), abs=1e-12)
    assert found.low == pytest.approx(above.mean() - 1.959963984540054 * spread, abs=1e-12)
    assert found.high == pytest.approx(above.mean() + 1.959963984540054 * spread, abs=1e-12)


def test_the_interval_covers_the_true_area_in_about_95_of_100_samples():
    random, covered = np.random.default_rng(5), 0
    truth = 0.5 * (1 + math.erf(1.0 / math.sqrt(2) / math.sqrt(2)))
    is_virus = np.arange(120) < 60
    for _ in range(400):
        found = auroc(random.normal(size=120) + is_virus, is_virus)
        covered += found.low <= truth <= found.high
    assert 365 <= covered <= 392


@pytest.mark.parametrize(
    ("scores", "is_virus"),
    [([0.1, 0.2, 0.3], [True, False, False]), ([NAN, 1, 2, 3], [True, True, False, False])],
)
def test_too_few_of_a_class_or_an_unknown_score_is_refused(scores, is_virus):
    with pytest.raises(ValueError, match="expected at least 2 of each and no NaN"):
        auroc(np.array(scores), np.array(is_virus))


def test_calls_are_counted_and_their_shares_follow():
    called = np.array([True, True, True, False, False, False, False])
    is_virus = np.array([True, True, False, True, False, False, False])
    found = confusion(called, is_virus)
    assert found == Confusion(true_virus=2, false_virus=1, true_others=3, false_others=1)
    assert found.accuracy == 5 / 7
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    assert found.f1 == 2 / 3


def test_shares_of_nothing_are_zero():
    found = confusion(np.zeros(2, bool), np.zeros(2, bool))
    assert (found.accuracy, found.precision, found.recall, found.f1) == (1.0, 0.0, 0.0, 0.0)


def test_the_roc_curve_steps_through_every_distinct_score_and_has_the_area_of_auroc():
    scores = np.array([0.9, 0.8, 0.8, 0.3, 0.1])
    is_virus = np.array([True, True, False, False, True])
    points = roc_points(scores, is_virus)
    third = 1 / 3
    assert points == [(0.0, 0.0), (0.0, third), (0.5, 2 * third), (1.0, 2 * third), (1.0, 1.0)]
    across, up = np.array(points).T
    assert np.trapezoid(up, across) == pytest.approx(auroc(scores, is_virus).value, abs=1e-12)


def test_a_long_roc_curve_is_thinned_and_keeps_its_ends():
    random = np.random.default_rng(3)
    is_virus = random.random(5000) < 0.5
    scores = random.normal(size=5000) + is_virus
    points = roc_points(scores, is_virus, most=50)
    assert len(points) == 51
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    across, up = np.array(points).T
    assert np.trapezoid(up, across) == pytest.approx(auroc(scores, is_virus).value, abs=2e-3)


def test_a_threshold_is_the_lowest_score_from_which_on_the_precision_is_reached():
    scores = np.array([0.95, 0.9, 0.8, 0.7, 0.7, 0.2])
    is_virus = np.array([True, True, False, True, True, False])
    # From 0.9 on 2 of 2, from 0.8 on 2 of 3, from 0.7 on 4 of 5, from 0.2 on 4 of 6.
    assert thresholds(scores, is_virus, [0.99, 0.8]) == (
        Threshold(precision=0.8, least=0.7, recall=1.0),
        Threshold(precision=0.99, least=0.9, recall=0.5),
    )


def test_a_precision_that_no_score_reaches_has_no_threshold():
    scores, is_virus = np.array([0.9, 0.5, 0.1]), np.array([False, True, False])
    assert [found.precision for found in thresholds(scores, is_virus, [0.5, 0.9])] == [0.5]
