"""The evaluation of a classifier: its figures as JSON and as a self-contained page."""

import json

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.models.calibration import ReliabilityBin
from virnucpro_assets.models.cards import Calibration, Inputs, Threshold
from virnucpro_assets.reports import plots
from virnucpro_assets.reports.pages import render_page
from virnucpro_assets.vocabulary import Label

TEMPLATE = "classifier_report.html"
FORMAT = 1
INPUTS_IN_WORDS: dict[Inputs, str] = {
    "both": "DNA and protein",
    "dna": "DNA only",
    "protein": "protein only",
}


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroupFigures(_Figures):
    """The figures of a group of rows; the AUROC is missing if a class has fewer than two rows."""

    name: str
    viruses: int
    others: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    calibration_error: float = Field(description="expected error of the calibrated P(virus)")
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None


class ComparedFigures(_Figures):
    """The classifier in use on the same rows."""

    name: str
    digest: str
    auroc: float
    f1: float
    roc: list[tuple[float, float]]


class EpochFigures(_Figures):
    """Mean losses of an epoch in nats, and the share of validation rows that are called correctly."""

    training_loss: float
    validation_loss: float
    validation_accuracy: float


class ClassifierReport(_Figures):
    """The evaluation of one classifier on the test split of its training set.

    The meaning of the JSON is stable: fields are only added, and `format` is increased if one changes.
    """

    format: int = FORMAT
    version: str
    digest: str
    made_by: str
    chunk_length: int
    inputs: Inputs
    drops: list[str]
    training_set: str
    counts: dict[str, dict[Label, int]]
    left_out: dict[str, int]
    notes: list[str]
    sources: dict[str, dict[Label, int]] = Field(description="sources by split and class")
    options: dict[str, str]
    best_epoch: int = Field(description="counted from 1; its weights are kept")
    epochs: list[EpochFigures]
    groups: list[GroupFigures] = Field(description="all rows of the test split first, then by read length")
    raw_calibration_error: float
    calibration: Calibration
    raw_bins: list[ReliabilityBin]
    calibrated_bins: list[ReliabilityBin]
    thresholds: list[Threshold]
    roc: list[tuple[float, float]]
    in_use: ComparedFigures | None = None
    accepted: bool
    verdict: str

    @property
    def whole(self) -> GroupFigures:
        """The figures of the whole test split."""
        return self.groups[0]


def render_classifier_report(report: ClassifierReport) -> str:
    """The report as one self-contained HTML page; the same report gives the same page."""
    drawn = {
        "roc": plots.roc(roc_curves(report), form="svg"),
        "reliability": plots.reliability(reliability_curves(report), form="svg"),
    }
    # Made here from figures and escaped names, without content from outside.
    pictures = {name: Markup(svg.decode()) for name, svg in drawn.items()}  # noqa: S704
    return render_page(TEMPLATE, report=report, pictures=pictures, inputs=INPUTS_IN_WORDS[report.inputs])


def report_as_json(report: ClassifierReport) -> str:
    """The report as JSON."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def roc_curves(report: ClassifierReport) -> dict[str, list[tuple[float, float]]]:
    """The ROC curve of the classifier, and that of the one in use if there is one, by name."""
    curves = {f"new, {report.version}": report.roc}
    return curves | ({f"in use, {report.in_use.name}": report.in_use.roc} if report.in_use else {})


def reliability_curves(report: ClassifierReport) -> dict[str, list[tuple[float, float]]]:
    """Mean score and share of viruses of each bin, for raw and calibrated scores."""
    return {
        name: [(one.mean_score, one.virus_share) for one in bins]
        for name, bins in (("raw", report.raw_bins), ("calibrated", report.calibrated_bins))
    }
