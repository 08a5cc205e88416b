"""The evaluation page of a classifier: complete, self-contained, and safe whatever stands in it."""

import json

import pytest

from virnucpro_assets.models.calibration import ReliabilityBin
from virnucpro_assets.models.cards import Calibration, Threshold
from virnucpro_assets.reports.classifier_report import (
    ClassifierReport,
    ComparedFigures,
    EpochFigures,
    GroupFigures,
    render_classifier_report,
    report_as_json,
)
from virnucpro_assets_tests.reports.test_drop_report import HOSTILE, Page


def group(name: str, **changes) -> GroupFigures:
    fields = {
        "viruses": 1200,
        "others": 1200,
        "accuracy": 0.8125,
        "precision": 0.8,
        "recall": 0.83,
        "f1": 0.815,
        "calibration_error": 0.021,
        "auroc": 0.876,
        "auroc_low": 0.851,
        "auroc_high": 0.901,
    }
    return GroupFigures.model_validate({"name": name, **fields, **changes})


def report(**changes) -> ClassifierReport:
    nothing = {"auroc": None, "auroc_low": None, "auroc_high": None}
    fields = {
        "version": "0123456789ab",
        "digest": "0123456789ab" + "c" * 52,
        "made_by": "test",
        "chunk_length": 300,
        "inputs": "dna",
        "drops": ["virus-a", "others-b"],
        "training_set": "d" * 64,
        "counts": {split: {"virus": 70, "others": 70} for split in ("training", "validation", "test")},
        "left_out": {"near_identical_to_another_split": 4321},
        "notes": ["a note"],
        "sources": {split: {"virus": 5, "others": 6} for split in ("training", "validation", "test")},
        "options": {"learning_rate": "0.0002"},
        "best_epoch": 2,
        "epochs": [
            EpochFigures(training_loss=0.7, validation_loss=0.69, validation_accuracy=0.5),
            EpochFigures(training_loss=0.5, validation_loss=0.5432, validation_accuracy=0.7),
        ],
        "groups": [group("all"), group("under 150 bases", viruses=1, others=0, **nothing)],
        "raw_calibration_error": 0.123,
        "calibration": Calibration(slope=0.5, intercept=0.1),
        "raw_bins": [ReliabilityBin(0.0, 0.1, 5, 0.05, 0.2), ReliabilityBin(0.9, 1.0, 5, 0.95, 0.8)],
        "calibrated_bins": [ReliabilityBin(0.2, 0.3, 10, 0.25, 0.5)],
        "thresholds": [Threshold(precision=0.95, least=0.8765, recall=0.5)],
        "roc": [(0.0, 0.0), (0.2, 0.9), (1.0, 1.0)],
        "accepted": True,
        "verdict": "AUROC 0.876 and F1 0.815 on the test split; no classifier was in use.",
    }
    return ClassifierReport.model_validate({**fields, **changes})


def test_the_page_says_how_good_the_classifier_is_and_stands_alone():
    text = render_classifier_report(report())
    page = Page(text)
    assert not page.open
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 2
    for shown in (
        "0.876",
        "0.851 to 0.901",
        "81.2",
        "DNA only",
        "4,321",
        "0.8765",
        "0.5432",
        "under 150 bases",
        "0.123",
    ):
        assert shown in text
    assert "It is in use now." in text
    assert render_classifier_report(report()) == text


def test_one_that_was_kept_out_says_beside_which_one():
    in_use = ComparedFigures(name="feedfeedfeed", digest="f" * 64, auroc=0.9123, f1=0.8, roc=[(0, 0), (1, 1)])
    text = render_classifier_report(report(in_use=in_use, accepted=False, verdict="It is worse."))
    assert "It is stored, but not in use." in text
    assert "feedfeedfeed, has AUROC 0.912 and F1 0.800" in text
    assert "ROC curves of new, 0123456789ab and in use, feedfeedfeed" in text


def test_without_a_threshold_the_page_says_so():
    assert "No threshold reached a precision of 90" in render_classifier_report(report(thresholds=[]))


@pytest.mark.parametrize("field", ["verdict", "made_by", "training_set"])
def test_nothing_from_outside_becomes_part_of_the_page(field):
    page = Page(render_classifier_report(report(**{field: HOSTILE}, notes=[HOSTILE], drops=[HOSTILE])))
    assert not page.open
    assert not {"script", "img", "iframe"} & set(page.tags)


def test_the_json_holds_every_figure_of_the_page():
    found = json.loads(report_as_json(report()))
    assert ClassifierReport.model_validate(found) == report()
    assert found["format"] == 1
