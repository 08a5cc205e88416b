"""The check between a new classifier and the one in use: AUROC and F1, each within the margin."""

import pytest

from virnucpro_assets.reports.classifier_report import ComparedFigures, GroupFigures
from virnucpro_assets.training.evaluate import Compared, not_worse, verdict_of


def new(auroc: float, f1: float) -> GroupFigures:
    shares = {"accuracy": 0.8, "precision": 0.8, "recall": 0.8, "calibration_error": 0.1}
    return GroupFigures.model_validate(
        {"name": "all", "viruses": 5, "others": 5, "auroc": auroc, "f1": f1, **shares}
    )


IN_USE = Compared(ComparedFigures(name="in-use", digest="d" * 64, auroc=0.9, f1=0.8, roc=[(0, 0), (1, 1)]))


@pytest.mark.parametrize(
    ("auroc", "f1", "passed"),
    [
        (0.9, 0.8, True),
        (0.95, 0.85, True),
        (0.896, 0.796, True),
        (0.889, 0.9, False),
        (0.95, 0.789, False),
        (0.5, 0.5, False),
    ],
)
def test_neither_auroc_nor_f1_may_be_lower_by_more_than_the_margin(auroc, f1, passed):
    found = not_worse(new(auroc, f1), IN_USE, 0.01, "c" * 64)
    assert found.passed is passed
    assert found.subject == "c" * 64
    assert found.threshold.startswith("AUROC and F1 at most 0.01 below")
    assert found.figures == {
        "auroc": auroc,
        "f1": f1,
        "auroc_in_use": 0.9,
        "f1_in_use": 0.8,
        "in_use": "in-use",
    }
    assert verdict_of(found).endswith("the one in use: not worse." if passed else "the one in use: worse.")


def test_without_one_in_use_any_classifier_passes_and_the_reason_is_said():
    found = not_worse(new(0.3, 0.1), Compared(None, "no classifier was in use"), 0.01, "c" * 64)
    assert found.passed
    assert verdict_of(found) == "AUROC 0.300 and F1 0.100 on the test split; no classifier was in use."
