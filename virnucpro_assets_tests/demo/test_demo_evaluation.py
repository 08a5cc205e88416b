"""AUROC, its interval and the GC baseline against values known from elsewhere or by brute force."""

import math

import numpy as np
import pytest

from virnucpro_assets.demo.evaluation import (
    Auroc,
    auroc,
    evaluate,
    gc_content,
    gc_direction,
    midranks,
)
from virnucpro_assets.demo.excerpts import Excerpt, write_excerpts
from virnucpro_assets.demo.truth import Truth

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


@pytest.mark.parametrize(
    ("bases", "expected"), [(b"GGCC", 1.0), (b"acgt", 0.5), (b"ATTG", 0.25), (b"NNGN", 1.0), (b"N", 0.5)]
)
def test_gc_content_counts_only_the_four_bases_in_either_case(bases, expected):
    assert gc_content(bases) == expected


def test_the_direction_of_gc_is_that_of_the_training_excerpts():
    rich, poor = Excerpt("a", 0, "virus", "GGCA"), Excerpt("b", 0, "others", "TTGA")
    assert gc_direction([rich, poor]) == 1
    assert gc_direction([Excerpt("a", 0, "virus", "TTTT"), poor]) == -1


def test_an_evaluation_counts_reads_leaves_out_artefacts_and_uses_trained_gc(tmp_path):
    write_excerpts(
        tmp_path, "training", [Excerpt("v", 0, "virus", "GGGA"), Excerpt("o", 0, "others", "TTTA")]
    )
    labels = {"v1": "virus", "v2": "virus", "v3": "virus", "o1": "others", "o2": "others", "a": "artefact"}
    truth = {name: Truth(label, "seen", "x") for name, label in labels.items()}
    bases = dict.fromkeys(truth, b"ATGA") | {"v1": b"GGGG", "o1": b"GGGA"}
    scores = {"v1": 0.9, "v2": -0.1, "v3": NAN, "o1": 0.0, "o2": -0.2, "a": 5.0}
    found = evaluate(scores, bases, truth, data_folder=tmp_path)
    assert (found.viruses, found.others, found.unscored) == (2, 2, 1)
    assert found.score.value == 0.75
    # v1 beats both others; v2 is below o1 and even with o2.
    assert found.gc.value == 0.625


def test_reads_of_unseen_genomes_can_be_judged_alone(tmp_path):
    write_excerpts(
        tmp_path, "training", [Excerpt("v", 0, "virus", "GGGA"), Excerpt("o", 0, "others", "TTTA")]
    )
    names = ["v1", "v2", "v3", "o1", "o2", "o3"]
    truth = {
        name: Truth("virus" if name[0] == "v" else "others", "seen" if name[1] == "3" else "unseen", "x")
        for name in names
    }
    scores = {"v1": 1.0, "v2": 1.0, "v3": -9.0, "o1": 0.0, "o2": 0.0, "o3": 9.0}
    found = evaluate(scores, dict.fromkeys(names, b"ACGT"), truth, genome="unseen", data_folder=tmp_path)
    assert (found.viruses, found.others, found.score.value) == (2, 2, 1.0)
