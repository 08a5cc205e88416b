"""AUROC, its interval, ROC curve, precision and thresholds against values known or found by brute force."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.models.cards import Threshold
from virnucpro_assets.models.evaluation import (
    Confusion,
    auroc,
    confusion,
    midranks,
    roc_points,
    thresholds,
)

NAN = float("nan")
tenths = st.integers(0, 10).map(lambda count: count / 10)


def placements(own, foreign):
    """By DeLong's definition: the share of `foreign` below each of `own`, ties counting half."""
    return ((own[:, None] > foreign) + 0.5 * (own[:, None] == foreign)).mean(axis=1)


@given(st.lists(tenths, max_size=30))
def test_midranks_share_the_mean_of_equal_values(values):
    expected = [sum(v < one for v in values) + (sum(v == one for v in values) + 1) / 2 for one in values]
    assert midranks(np.array(values)).tolist() == expected


def test_the_textbook_case_of_four_scores_is_three_quarters():
    found = auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    assert found.value == 0.75


@given(st.lists(tenths, min_size=2, max_size=30), st.lists(tenths, min_size=2, max_size=30))
@example([0.8, 0.9], [0.1, 0.2])
@example([0.5, 0.5], [0.5, 0.5, 0.5])
def test_area_interval_curve_and_thresholds_follow_their_definitions(viruses, others):
    scores = np.array([*viruses, *others])
    is_virus = np.arange(len(scores)) < len(viruses)
    viruses, others = np.array(viruses), np.array(others)
    above, below = placements(viruses, others), 1.0 - placements(others, viruses)
    reach = 1.959963984540054 * math.sqrt(
        np.var(above, ddof=1) / len(viruses) + np.var(below, ddof=1) / len(others)
    )
    area, found = above.mean(), auroc(scores, is_virus)
    assert found.value == pytest.approx(area, abs=1e-12)
    assert found.low == pytest.approx(max(0.0, area - reach), abs=1e-12)
    assert found.high == pytest.approx(min(1.0, area + reach), abs=1e-12)

    levels = sorted(set(scores.tolist()), reverse=True)
    points = roc_points(scores, is_virus)
    assert points == [(0.0, 0.0), *(((others >= one).mean(), (viruses >= one).mean()) for one in levels)]
    across, up = np.array(points).T
    assert np.trapezoid(up, across) == pytest.approx(area, abs=1e-12)

    expected = []
    for wanted in (0.5, 0.8, 1.0):
        reached = [one for one in levels if is_virus[scores >= one].mean() >= wanted]
        if reached:
            least = min(reached)
            expected.append(Threshold(precision=wanted, least=least, recall=(viruses >= least).mean()))
    assert thresholds(scores, is_virus, (1.0, 0.5, 0.8)) == tuple(expected)


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
