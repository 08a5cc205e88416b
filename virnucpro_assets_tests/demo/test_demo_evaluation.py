"""The evaluation of the demo and its GC baseline, against values known from elsewhere or by brute force."""

import pytest

from virnucpro_assets.demo.evaluation import ErrorRate, error_rates, evaluate, gc_content, gc_direction
from virnucpro_assets.demo.excerpts import Excerpt, write_excerpts
from virnucpro_assets.demo.truth import Truth

NAN = float("nan")


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


def test_the_expected_share_of_wrong_reads_is_compared_with_the_true_one():
    labels = {"v1": "virus", "o1": "others", "v2": "virus", "o2": "others", "a": "artefact"}
    truth = {name: Truth(label, "seen", "x") for name, label in labels.items()}
    q_values = {"v1": 0.1, "o1": 0.2, "v2": 0.25, "o2": 0.5, "a": 0.05}
    assert error_rates(q_values, truth, (0.05, 0.2, 0.3, 1)) == [
        ErrorRate(0.05, 0, None, None),
        ErrorRate(0.2, 2, 0.2, 0.5),
        ErrorRate(0.3, 3, 0.25, pytest.approx(1 / 3)),
        ErrorRate(1, 4, 0.5, 0.5),
    ]
