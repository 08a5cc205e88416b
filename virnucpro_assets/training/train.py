"""Training a classifier on labelled drops: from their embeddings to a stored version, which may be put in use.

1. The training set is made, or reused (`training_set`).
2. The classifier is trained on the training split; the validation split decides when to stop and calibrates scores.
3. It is evaluated on the test split, together with the one in use.
4. It is stored as a version, with its evaluation. If it is not worse than the one in use, it replaces it: a classifier
   of DNA only the one for short reads, any other the default one.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets import __version__
from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.demo.recognise import demo_line, demo_models
from virnucpro_assets.files.atomic import TEMPORARY_MARK, write_text
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.files.locks import locked
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.models.calibration import (
    calibrated,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from virnucpro_assets.models.cards import ENCODERS_OF_INPUTS, Calibration, ClassifierCard, columns_of
from virnucpro_assets.models.classifier import Classifier, save_classifier
from virnucpro_assets.models.evaluation import roc_points, thresholds
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.models.training import Epoch, Trained, TrainingSettings, train_classifier
from virnucpro_assets.models.versions import Version, VersionRecord
from virnucpro_assets.reports.classifier_report import (
    ClassifierReport,
    EpochFigures,
    GroupFigures,
    render_classifier_report,
    report_as_json,
)
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.training_set import LabelledRows, TrainingSetManifest, read_training_set
from virnucpro_assets.training.evaluate import (
    Compared,
    Scores,
    compare_with_in_use,
    groups_of,
    not_worse,
    verdict_of,
    virus_scores,
)
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.training.options import SetOptions, TrainOptions
from virnucpro_assets.training.splits import SPLITS, TEST, VALIDATION
from virnucpro_assets.training.training_set import make_training_set
from virnucpro_assets.vocabulary import LABELS

LOCK = "training.lock"
SHARE = "validation_share"
PAGE, DATA = "evaluation.html", "evaluation.json"
DEMO_NOTE = "Trained on the demo's encoders, which are tiny and have random weights: not for science."


@dataclass(frozen=True)
class TrainedVersion:
    """A trained classifier: its training set, its evaluation, and whether it is in use now."""

    set_folder: Path
    training_set: TrainingSetManifest
    version: Version
    report: ClassifierReport
    check: CheckResult


@dataclass(frozen=True)
class _Judged:
    """The evaluation of a classifier: its calibration, from the validation split, and its figures on the test split."""

    calibration: Calibration
    scores: Scores
    likely: Scores
    is_virus: npt.NDArray[np.bool_]
    groups: list[GroupFigures]
    compared: Compared


def train(
    labelled: Sequence[LabelledDrop],
    set_options: SetOptions,
    options: TrainOptions,
    settings: Settings,
    report: Reporter,
) -> TrainedVersion:
    """Train a classifier on embedded drops, evaluate and store it; raises as `make_training_set` does.

    The result says whether it passed the check; if it did, it is in use. Only one training runs at a time: depending on
    the settings this waits for another one, or raises BusyError.
    """
    if line := demo_line(settings.model_folders()):
        report(line)
    with locked(settings.training_root / LOCK, "a training", settings.when_busy, report):
        _remove_unfinished(settings.training_root)
        folder, manifest = make_training_set(labelled, set_options, settings, report)
        manifest, rows = read_training_set(folder)
        columns = columns_of(options.inputs, manifest.widths["dnabert_s"])
        in_use = settings.classifier_folder(manifest.chunk_length, options.inputs)
        trained = _learn(rows, columns, options, report)
        judged = _judge(trained, rows, columns, manifest, in_use)
        all_options = {name: str(value) for name, value in {**dict(set_options), **dict(options)}.items()}
        versions = settings.classifier_versions(manifest.chunk_length, options.inputs)
        with versions.adding() as new:
            notes = [*_demo_notes(settings), *manifest.notes]
            card = _card(manifest, options, judged, notes)
            save_classifier(new, trained.state, card)
            digest = sha256_of_file(new / WEIGHTS_FILE)
            check = not_worse(judged.groups[0], judged.compared, settings.classifier_margin, digest)
            found = _report(manifest, card, trained, judged, check, options=all_options, notes=notes)
            write_text(new / PAGE, render_classifier_report(found))
            write_text(new / DATA, report_as_json(found))
            record = VersionRecord(
                digest=digest,
                made_at=datetime.now(UTC),
                training_set=manifest.digest,
                options=all_options,
                accepted=check.passed,
                verdict=found.verdict,
                files={},
            )
            version = versions.keep(new, record)
        if check.passed:
            versions.use(version.name)
    # The verdict is the command's to print, or its error.
    state = "in use" if check.passed else "kept, not in use"
    report(f"classifier {version.name} is {state}; its evaluation: {(version.path / PAGE).absolute()}")
    return TrainedVersion(folder, manifest, version, found, check)


def _remove_unfinished(root: Path) -> None:
    """Remove unfinished files of a killed training; the lock of trainings must be held."""
    for path in (
        *root.glob(f"sets/*/*{TEMPORARY_MARK}*"),
        *root.glob(f"classifiers/*/.new{TEMPORARY_MARK}*"),
    ):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _learn(rows: LabelledRows, columns: slice, options: TrainOptions, report: Reporter) -> Trained:
    taught = rows.take(rows.split != TEST)

    def say(number: int, epoch: Epoch) -> None:
        report(
            f"epoch {number}: loss {epoch.training_loss:.4f} in training, {epoch.validation_loss:.4f} in validation, "
            f"{epoch.validation_accuracy:.1%} of validation rows called correctly"
        )

    chosen = {
        field.name: getattr(options, field.name) for field in fields(TrainingSettings) if field.name != SHARE
    }
    return train_classifier(
        taught.embeddings[:, columns],
        taught.is_virus,
        TrainingSettings(**chosen),
        is_validation=taught.split == VALIDATION,
        on_epoch=say,
    )


def _judge(
    trained: Trained, rows: LabelledRows, columns: slice, manifest: TrainingSetManifest, in_use: Path
) -> _Judged:
    classifier = Classifier(rows.embeddings[:, columns].shape[1])
    classifier.load_state_dict(trained.state)
    validation, test = (rows.take(rows.split == split) for split in (VALIDATION, TEST))
    calibration = fit_calibration(
        virus_scores(classifier, validation.embeddings[:, columns]), validation.is_virus
    )
    scores = virus_scores(classifier, test.embeddings[:, columns])
    return _Judged(
        calibration=calibration,
        scores=scores,
        likely=calibrated(scores, calibration),
        is_virus=test.is_virus,
        groups=list(groups_of(scores, test, calibration)),
        compared=compare_with_in_use(in_use, manifest, test),
    )


def _demo_notes(settings: Settings) -> list[str]:
    return [DEMO_NOTE] if demo_models(settings.model_folders()) else []


def _card(
    manifest: TrainingSetManifest, options: TrainOptions, judged: _Judged, notes: list[str]
) -> ClassifierCard:
    rows = ", ".join(
        f"{split} {' and '.join(f'{count} rows of {label}' for label, count in by_label.items())}"
        for split, by_label in manifest.counts.items()
    )
    figures = judged.groups[0].model_dump()
    return ClassifierCard(
        chunk_length=manifest.chunk_length,
        d_dna=manifest.widths["dnabert_s"],
        d_protein=manifest.widths["esm2"],
        encoders={kind: manifest.encoders[kind] for kind in ENCODERS_OF_INPUTS[options.inputs]},
        precision=manifest.precision,
        inputs=options.inputs,
        calibration=judged.calibration,
        thresholds=thresholds(judged.likely, judged.is_virus),
        training_data=f"Drops {', '.join(manifest.drops)}; {rows}; training set {manifest.digest[:12]}.",
        metrics={
            f"test_{name}": round(value, 4) for name, value in figures.items() if isinstance(value, float)
        },
        note=" ".join(notes),
        created_with=__version__,
    )


def _report(
    manifest: TrainingSetManifest,
    card: ClassifierCard,
    trained: Trained,
    judged: _Judged,
    check: CheckResult,
    *,
    options: dict[str, str],
    notes: list[str],
) -> ClassifierReport:
    raw_bins = reliability(judged.scores, judged.is_virus)
    return ClassifierReport(
        version=check.subject[:12],
        digest=check.subject,
        made_by=f"virnucpro-assets {__version__}",
        chunk_length=card.chunk_length,
        inputs=card.inputs,
        drops=manifest.drops,
        training_set=manifest.digest,
        counts=manifest.counts,
        left_out=manifest.left_out,
        notes=notes,
        sources={
            split: {
                label: sum(one.label == label and split in one.rows for one in manifest.sources)
                for label in LABELS
            }
            for split in SPLITS
        },
        options=options,
        best_epoch=trained.best + 1,
        epochs=[EpochFigures(**asdict(epoch)) for epoch in trained.history],
        groups=judged.groups,
        raw_calibration_error=expected_calibration_error(raw_bins),
        calibration=judged.calibration,
        raw_bins=raw_bins,
        calibrated_bins=reliability(judged.likely, judged.is_virus),
        thresholds=list(card.thresholds),
        roc=roc_points(judged.scores, judged.is_virus),
        in_use=judged.compared.figures,
        accepted=check.passed,
        verdict=verdict_of(check),
    )
