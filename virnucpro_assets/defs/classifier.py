"""The classifier in use, and the training of a new one.

The asset `classifier` looks at which one is in use, and makes none.

A person launches the job `train_classifier`, with the drops and the options in the run's config. The assets
`training_set`, `trained_classifier` and `classifier_evaluation` are external: no "Materialize all" and no automation
makes them, for what they are made from is in that config. A classifier that is worse than the one in use is kept, the
check fails, and nothing else changes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import dagster as dg
from pydantic import Field, create_model

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.checks.results import CheckError
from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.devices import step_tags
from virnucpro_assets.defs.partitions import CLASSIFIER, TRAIN_CLASSIFIER, TRAINING, TRAINING_STEP
from virnucpro_assets.defs.records import Event, evaluation, latest_record, materialisation, recorded_version
from virnucpro_assets.defs.steps import clear_failures, mark_run
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.models.cards import CARD_FILE
from virnucpro_assets.settings import Settings
from virnucpro_assets.training.labels import LabelledDrop, read_labels
from virnucpro_assets.training.options import FIELDS, parse_options

SET, TRAINED, EVALUATION = TRAINING
CHECK = "not_worse_than_in_use"


def classifier(settings: Settings) -> dg.AssetsDefinition:
    """The asset `classifier`."""

    @dg.asset(
        name=CLASSIFIER,
        group_name="models",
        kinds={"pytorch"},
        description="The small network in use that tells viruses from others, for the settings' chunk length.",
    )
    def observe(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with clear_failures():
            digest, shown = _in_use(settings)
        return dg.MaterializeResult(data_version=dg.DataVersion(digest), metadata=shown)

    return observe


def record_in_use(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Record the classifier in use outside of its own run, if there is one and another one is recorded.

    Settings that name a missing classifier, and damaged files, change nothing here: they are reported when they are
    used.
    """
    try:
        if not (settings.classifier_folder(settings.chunk_length) / CARD_FILE).exists():
            return
        digest, shown = _in_use(settings)
    except (InputError, IntegrityError):
        return
    if digest != recorded_version(latest_record(instance, CLASSIFIER, None)):
        instance.report_runless_asset_event(materialisation(CLASSIFIER, None, digest=digest, shown=shown))


def _in_use(settings: Settings) -> tuple[str, metadata.Metadata]:
    """The digest of the classifiers in use, and metadata, mostly of the default one.

    A second classifier for short reads and the length below which it is used are in the digest: predictions become
    stale when they change.
    """
    routing = classifiers_in_use(settings, settings.chunk_length)
    card = routing.default.card
    return routing.digest, {
        "chunk_length": card.chunk_length,
        "width": card.width,
        "inputs": card.inputs,
        "trained_on": card.training_data,
        "note": card.note,
        "digest": routing.default.digest,
        "encoders": dg.MetadataValue.json({str(kind): value for kind, value in card.encoders.items()}),
        "folder": metadata.path(routing.default.folder),
        **({"used_with": dg.MetadataValue.json(routing.inputs)} if len(routing.inputs) > 1 else {}),
        **card.metrics,
    }


class _Sources(dg.Config):
    """Which drops teach."""

    virus: list[str] = Field([], description="drops of viruses, by name")
    others: list[str] = Field([], description="drops of anything else, by name")
    labels: str = Field("", description="a table of labelled drops, instead: its path")


_OPTIONS: dict[str, Any] = {
    # The orchestrator knows no choice among texts; the engine refuses what is none.
    name: (
        str if get_origin(field.annotation) is Literal else field.annotation,
        Field(field.default, description=field.description),
    )
    for name, field in FIELDS.items()
}
TrainingConfig: Any = create_model(
    "TrainingConfig", __base__=_Sources, __doc__="What a training is made from, and how.", **_OPTIONS
)


def training_assets() -> list[dg.AssetSpec]:
    """The assets `training_set`, `trained_classifier` and `classifier_evaluation`."""

    def spec(name: str, deps: list[str], kind: str, description: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            name,
            deps=deps,
            group_name="training",
            kinds={kind},
            description=f"{description} Made by the job `{TRAIN_CLASSIFIER}`.",
        )

    labelled = "Labelled embeddings of drops, split by genome, balanced, without leaks."
    trained = "A classifier that learned from the training set, kept as a version."
    judged = "How good the classifier is on rows that it never saw, beside the one in use."
    return [
        spec(SET, ["merged_embeddings"], "hdf5", labelled),
        spec(TRAINED, [SET], "pytorch", trained),
        spec(EVALUATION, [TRAINED, SET], "html", judged),
    ]


def training_check() -> dg.AssetChecksDefinition:
    """The check `not_worse_than_in_use`: a training records it; run by itself it repeats what that found."""

    @dg.asset_check(
        asset=EVALUATION,
        name=CHECK,
        blocking=True,
        description="AUROC and F1 on the test rows are not worse than those of the classifier in use.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        latest = latest_record(context.instance, EVALUATION, None)
        made = latest.asset_materialization if latest else None
        if made is None:
            raise dg.Failure(
                description=f"{EVALUATION}: found none; expected one. Launch the job {TRAIN_CLASSIFIER}.",
                allow_retries=False,
            )
        return dg.AssetCheckResult(
            passed=bool(made.metadata["in_use"].value), metadata={"verdict": made.metadata["verdict"]}
        )

    return check


def training_job(settings: Settings) -> dg.JobDefinition:
    """The job `train_classifier`."""

    @dg.op(name=TRAINING_STEP, tags=step_tags(settings, devices=False))
    def train(context: dg.OpExecutionContext, config: TrainingConfig) -> Iterator[Event]:
        mark_run(context, settings)
        # torch and the plotting library stay out of the import path of the definitions.
        from virnucpro_assets.training.train import train as train_classifier  # noqa: PLC0415

        with clear_failures():
            set_options, options = parse_options(dict(config))
            trained = train_classifier(_labelled(config), set_options, options, settings, context.log.info)
            yield from _results(trained)
            yield evaluation(context.instance, None, trained.check)
            record_in_use(context.instance, settings)
            if not trained.check.passed:
                raise CheckError(
                    f"check {CHECK}: found {trained.report.verdict.rstrip('.')}; expected {trained.check.threshold}. "
                    f"The new classifier is kept as version {trained.version.name}, and not in use."
                )
        yield dg.Output(None)

    @dg.job(
        name=TRAIN_CLASSIFIER,
        description="Train a classifier on labelled drops that are embedded: name them in the run's config.",
    )
    def train_classifier_job() -> None:
        train()

    return train_classifier_job


def _labelled(config: Any) -> list[LabelledDrop]:
    if config.labels:
        return read_labels(Path(config.labels))
    virus = [LabelledDrop(drop=drop, label="virus") for drop in config.virus]
    return virus + [LabelledDrop(drop=drop, label="others") for drop in config.others]


def _results(trained: Any) -> Iterator[dg.AssetMaterialization]:
    from virnucpro_assets.reports import plots  # noqa: PLC0415
    from virnucpro_assets.reports.classifier_report import reliability_curves, roc_curves  # noqa: PLC0415
    from virnucpro_assets.training.train import DATA, PAGE  # noqa: PLC0415

    manifest, version, report = trained.training_set, trained.version, trained.report
    counts = {
        f"{split}, {label}": count
        for split, by_label in manifest.counts.items()
        for label, count in by_label.items()
    }
    of_set: metadata.Metadata = {
        "dagster/row_count": sum(counts.values()),
        "rows": metadata.counts_table(counts, "split and class"),
        "left_out": metadata.counts_table(manifest.left_out, "left out"),
        "notes": " ".join(manifest.notes) or "none",
        "drops": ", ".join(manifest.drops),
        "folder": metadata.path(trained.set_folder),
    }
    of_classifier: metadata.Metadata = {
        "version": version.name,
        "digest": version.record.digest,
        "inputs": version.card.inputs,
        "epochs": len(report.epochs),
        "best_epoch": report.best_epoch,
        "options": dg.MetadataValue.json(report.options),
        "folder": metadata.path(version.path),
    }
    of_evaluation: metadata.Metadata = {
        "version": version.name,
        "in_use": trained.check.passed,
        "verdict": report.verdict,
        **{name: value for name, value in report.whole.model_dump().items() if isinstance(value, float)},
        "roc": metadata.picture(plots.roc(roc_curves(report))),
        "reliability": metadata.picture(plots.reliability(reliability_curves(report))),
        "page": metadata.path(version.path / PAGE),
        "json": metadata.path(version.path / DATA),
    }
    yield materialisation(SET, None, digest=manifest.digest, shown=of_set)
    yield materialisation(TRAINED, None, digest=version.record.digest, shown=of_classifier)
    yield materialisation(EVALUATION, None, digest=version.record.digest, shown=of_evaluation)
