"""Training as assets: a training set of labelled drops, a classifier, and its evaluation.

They are one step, made when a person asks for it, with the drops and the options in the run's config.
Without any drop the step trains nothing and records what is there once more: whoever materialises all
assets asks for these too, and an asset that is not recorded counts as failed. A classifier that is
worse than the one in use is kept, the check fails, and nothing else changes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import dagster as dg
from pydantic import Field, create_model

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.executors import step_tags
from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.defs.jobs import TRAINING, TRAINING_STEP
from virnucpro_assets.defs.process_runs import mark_worker
from virnucpro_assets.defs.records import latest_record
from virnucpro_assets.pipeline.checks import CheckError
from virnucpro_assets.pipeline.training.labels import LabelledDrop, read_labels
from virnucpro_assets.pipeline.training.options import FIELDS, parse_options
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

GROUP = "training"
SET, TRAINED, EVALUATION = TRAINING
CHECK = "not_worse_than_in_use"
VERSION, NOTHING = "dagster/data_version", "nothing"


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


def training(settings: Settings) -> dg.AssetsDefinition:
    """The assets `training_set`, `trained_classifier` and `classifier_evaluation`."""
    check = dg.AssetCheckSpec(
        CHECK,
        asset=EVALUATION,
        blocking=True,
        description="AUROC and F1 on the test rows are not worse than those of the classifier in use.",
    )

    @dg.multi_asset(
        name=TRAINING_STEP, specs=_specs(), check_specs=[check], op_tags=step_tags(settings, devices=False)
    )
    def train(context: dg.AssetExecutionContext, config: TrainingConfig) -> Iterator[Any]:
        mark_worker(context, settings)
        values = dict(config)
        with mendable():
            labelled = _labelled(config)
            set_options, options = parse_options(values)
        if not labelled:
            context.log.warning(
                "no drop to learn from in the run's config (virus, others or labels): nothing is trained"
            )
            yield from _as_before(context.instance)
            yield dg.Output(None, output_name=check.get_python_identifier())
            return
        # torch and the plotting library stay out of the import path of the definitions.
        from virnucpro_assets.pipeline.training.train import train as train_classifier  # noqa: PLC0415

        with mendable():
            trained = train_classifier(labelled, set_options, options, settings, context.log.info)
            yield from _results(trained)
            record_in_use(context.instance, settings)
            if not trained.check.passed:
                raise CheckError(
                    f"check {CHECK}: found {trained.report.verdict.rstrip('.')}; expected {trained.check.threshold}. "
                    f"The new classifier is kept as version {trained.version.name}, and not in use."
                )

    return train


def _specs() -> list[dg.AssetSpec]:
    about = {
        SET: (
            "Labelled embeddings of drops, split by genome, balanced, without leaks.",
            ["merged_embeddings"],
            "hdf5",
        ),
        TRAINED: ("A classifier that learned from the training set, kept as a version.", [SET], "pytorch"),
        EVALUATION: (
            "How good the classifier is on rows that it never saw, beside the one in use.",
            [TRAINED, SET],
            "html",
        ),
    }
    return [
        dg.AssetSpec(
            name,
            deps=deps,
            group_name=GROUP,
            kinds={kind},
            code_version=str(ENGINE_FORMAT),
            description=description,
        )
        for name, (description, deps, kind) in about.items()
    ]


def _labelled(config: Any) -> list[LabelledDrop]:
    if config.labels:
        return read_labels(Path(config.labels))
    virus = [LabelledDrop(drop=drop, label="virus") for drop in config.virus]
    return virus + [LabelledDrop(drop=drop, label="others") for drop in config.others]


def _as_before(instance: dg.DagsterInstance) -> Iterator[dg.MaterializeResult[None]]:
    """What was recorded of each asset last, or that there is nothing yet."""
    for asset in TRAINING:
        latest = latest_record(instance, asset, None)
        if latest and (made := latest.asset_materialization):
            version, shown = (made.tags or {}).get(VERSION, ""), dict(made.metadata)
        else:
            version, shown = NOTHING, {"note": dg.MetadataValue.text("nothing was trained yet")}
        yield dg.MaterializeResult(
            asset_key=asset, data_version=metadata.data_version(version), metadata=shown
        )


def _results(trained: Any) -> Iterator[dg.MaterializeResult[None]]:
    from virnucpro_assets.pipeline.training.train import DATA, PAGE  # noqa: PLC0415
    from virnucpro_assets.report import plots  # noqa: PLC0415
    from virnucpro_assets.report.classifier_report import reliability_curves, roc_curves  # noqa: PLC0415

    manifest, version, report = trained.training_set, trained.version, trained.report
    counts = {
        f"{split}, {label}": count
        for split, by_label in manifest.counts.items()
        for label, count in by_label.items()
    }
    yield dg.MaterializeResult(
        asset_key=SET,
        data_version=metadata.data_version(manifest.digest),
        metadata={
            "dagster/row_count": sum(counts.values()),
            "rows": metadata.counts_table(counts, "split and class"),
            "left_out": metadata.counts_table(manifest.left_out, "left out"),
            "notes": " ".join(manifest.notes) or "none",
            "drops": ", ".join(manifest.drops),
            "folder": metadata.path(trained.set_folder),
        },
    )
    yield dg.MaterializeResult(
        asset_key=TRAINED,
        data_version=metadata.data_version(version.record.digest),
        metadata={
            "version": version.name,
            "digest": version.record.digest,
            "inputs": version.card.inputs,
            "epochs": len(report.epochs),
            "best_epoch": report.best_epoch,
            "options": dg.MetadataValue.json(report.options),
            "folder": metadata.path(version.path),
        },
    )
    whole = {name: value for name, value in report.whole.model_dump().items() if isinstance(value, float)}
    yield dg.MaterializeResult(
        asset_key=EVALUATION,
        data_version=metadata.data_version(version.record.digest),
        metadata={
            "version": version.name,
            "in_use": trained.check.passed,
            "verdict": report.verdict,
            **whole,
            "roc": metadata.picture(plots.roc(roc_curves(report))),
            "reliability": metadata.picture(plots.reliability(reliability_curves(report))),
            "page": metadata.path(version.path / PAGE),
            "json": metadata.path(version.path / DATA),
        },
        check_results=[metadata.check_result(trained.check)],
    )
