"""The commands on classifiers: training one, and choosing among those that were trained."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from virnucpro_assets.cli.app import Length, app
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import Commands, examples
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import say

if TYPE_CHECKING:
    from virnucpro_assets.models.cards import Inputs
    from virnucpro_assets.settings import Settings
    from virnucpro_assets.training.labels import LabelledDrop

classifiers = typer.Typer(
    cls=Commands,
    help="List the classifiers that were trained here, and choose which one is in use.",
    epilog=examples("virnucpro classifiers list", "virnucpro classifiers back"),
    no_args_is_help=True,
)


Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="The version's name, 12 digits; or `configured`, that of the settings."
    ),
]
Short = Annotated[
    bool, typer.Option("--short-reads", help="The classifier for short reads, which takes DNA alone.")
]


Viruses = Annotated[
    list[Path] | None,
    typer.Option(
        "--virus",
        parser=user_path,
        metavar="PATH",
        help="Reads or genomes of viruses: a file, or a folder of files; repeatable.",
    ),
]
Others = Annotated[
    list[Path] | None,
    typer.Option("--others", parser=user_path, metavar="PATH", help="The same of anything else; repeatable."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        parser=user_path,
        metavar="FILE",
        help="Instead: a table of drops that are there, with drop, label, source.",
    ),
]
Embeddings = Annotated[
    Literal["both", "dna", "protein"] | None,
    typer.Option("--inputs", help="The embeddings that it takes; default: both. dna is for short reads."),
]
Sources = Annotated[
    Literal["names", "drops"] | None,
    typer.Option(
        "--sources",
        help="What tells the genome of a read: its name (the default; what stands before a colon, else all "
        "of it), or its drop.",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Decides about all that is random.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="At most; default: 200.")]
Patience = Annotated[
    int | None,
    typer.Option("--patience", help="Epochs without a lower loss before it stops; default: 10."),
]
LearningRate = Annotated[float | None, typer.Option("--learning-rate", help="Default: 0.0002.")]
Momentum = Annotated[float | None, typer.Option("--momentum", help="Default: 0.9.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Rows of a step; default: 32.")]
RateStepEpochs = Annotated[
    int | None, typer.Option("--rate-step-epochs", help="Epochs after which the rate falls; default: 10.")
]
RateFactor = Annotated[
    float | None, typer.Option("--rate-factor", help="What it is multiplied by then; default: 0.85.")
]
ValidationShare = Annotated[
    float | None, typer.Option("--validation-share", help="Of the rows; default: 0.15.")
]
TestShare = Annotated[float | None, typer.Option("--test-share", help="Of the rows; default: 0.15.")]
NearIdentical = Annotated[
    float | None,
    typer.Option(
        "--near-identical", help="Share of 31-mers in another split that is too much; default: 0.1."
    ),
]
SourceFactor = Annotated[
    float | None,
    typer.Option("--source-factor", help="How many times the median rows one source may give; default: 4."),
]
ReplaceDrops = Annotated[
    bool, typer.Option("--replace", help="Replace drops of the same names that have other files.")
]


@app.command(
    epilog=examples(
        "virnucpro train --virus phages.fa --others bacteria/",
        "virnucpro train --labels table.tsv --inputs dna",
    )
)
def train(
    virus: Viruses = None,
    others: Others = None,
    labels: Labels = None,
    chunk_length: Length = None,
    inputs: Embeddings = None,
    sources: Sources = None,
    seed: Seed = None,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    momentum: Momentum = None,
    batch_size: BatchSize = None,
    rate_step_epochs: RateStepEpochs = None,
    rate_factor: RateFactor = None,
    validation_share: ValidationShare = None,
    test_share: TestShare = None,
    near_identical: NearIdentical = None,
    source_factor: SourceFactor = None,
    replace: ReplaceDrops = False,
) -> None:
    """Train a classifier on labelled sequences; it takes its place if it is not worse than the one in use.

    The files become drops and are embedded as any other. Ends with 5 if the classifier is worse: it is kept,
    and not in use.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    for name in ("virus", "others", "labels", "chunk_length", "replace"):
        given.pop(name, None)
    with one_line_errors():
        length = int(chunk_length) if chunk_length else None
        _train(virus or [], others or [], labels, length, replace=replace, options=given)


@classifiers.command("list", epilog=examples("virnucpro classifiers list"))
def list_classifiers() -> None:
    """List the classifiers that were trained here, how good each is, and which is in use."""
    with one_line_errors():
        from virnucpro_assets.reports.classifier_pages import version_lines
        from virnucpro_assets.settings import load_settings

        for line in version_lines(load_settings()):
            typer.echo(line)


@classifiers.command(epilog=examples("virnucpro classifiers show 0123456789ab"))
def show(version: Version) -> None:
    """Print what a classifier was trained on, how good it is, and where its evaluation is."""
    with one_line_errors():
        from virnucpro_assets.reports.classifier_pages import one_version_lines
        from virnucpro_assets.settings import load_settings

        for line in one_version_lines(load_settings(), version):
            typer.echo(line)


@classifiers.command(
    epilog=examples(
        "virnucpro classifiers use 0123456789ab", "virnucpro classifiers use configured --short-reads"
    )
)
def use(version: Version, chunk_length: Length = None, short_reads: Short = False) -> None:
    """Take a classifier into use, whatever the check said of it; drops predicted from now on name it."""
    with one_line_errors():
        from virnucpro_assets.models.versions import CONFIGURED
        from virnucpro_assets.reports.classifier_pages import find_version
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        place = _place(settings, chunk_length, short_reads=short_reads)
        if version != CONFIGURED:
            place, _ = find_version(settings, version)
        settings.classifier_versions(*place).use(version)
        _say_in_use(settings, place)


@classifiers.command(
    epilog=examples("virnucpro classifiers back", "virnucpro classifiers back --short-reads")
)
def back(chunk_length: Length = None, short_reads: Short = False) -> None:
    """Go back to the classifier that was in use before."""
    with one_line_errors():
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        place = _place(settings, chunk_length, short_reads=short_reads)
        settings.classifier_versions(*place).rollback()
        _say_in_use(settings, place)


def _place(settings: "Settings", chunk_length: str | None, *, short_reads: bool) -> "tuple[int, Inputs]":
    return int(chunk_length or settings.chunk_length), "dna" if short_reads else "both"


def _say_in_use(settings: "Settings", place: "tuple[int, Inputs]") -> None:
    from virnucpro_assets.defs.classifier import record_in_use
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.reports.classifier_pages import in_use_line

    with open_instance(settings) as instance:
        record_in_use(instance, settings)
    typer.echo(in_use_line(settings, place))


def _train(
    virus: list[Path],
    others: list[Path],
    labels: Path | None,
    chunk_length: int | None,
    *,
    replace: bool,
    options: dict[str, Any],
) -> None:
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.defs.maintenance import forget_partition
    from virnucpro_assets.defs.records import latest_record
    from virnucpro_assets.defs.runs import materialise_embeddings, run_training
    from virnucpro_assets.demo.recognise import saying_demo_models
    from virnucpro_assets.drops.disk_space import check_data_root
    from virnucpro_assets.inference.devices import find_devices
    from virnucpro_assets.maintenance.forget import kept_if_indexed
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.training.labelled_drops import (
        is_embedded,
        register_labelled,
        registration_locks,
    )
    from virnucpro_assets.training.labels import keep_labels
    from virnucpro_assets.training.options import parse_options

    settings = load_settings()
    parse_options(options)
    check_data_root(settings.data_root)
    find_devices(settings.devices, visible=settings.visible_gpus)
    labelled, paths = _labelled_drops(virus, others, labels, settings)

    said = saying_demo_models(settings.model_folders(), say)
    with said, registration_locks(labelled, settings, say), open_instance(settings) as instance:
        length = chunk_length or settings.chunk_length
        with ExitStack() as kept:
            for one in paths:
                forgotten = partial(forget_partition, instance, one.drop)
                kept.enter_context(kept_if_indexed(one.drop, settings, forgotten))
            register_labelled(paths, settings, chunk_length=length, replace=replace)
            table = keep_labels(settings.training_root, labelled)
            say(f"table of labels: {table.absolute()}")
            for one in labelled:
                if not is_embedded(one.drop, settings):
                    materialise_embeddings(instance, settings, one.drop)
        run_training(instance, settings, {"labels": str(table.absolute()), **options})
        record = latest_record(instance, "classifier_evaluation", None)
        if record and (made := record.asset_materialization):
            for name in ("verdict", "version", "page"):
                typer.echo(f"{name}: {made.metadata[name].value}")


def _labelled_drops(
    virus: list[Path], others: list[Path], labels: Path | None, settings: "Settings"
) -> "tuple[list[LabelledDrop], dict[LabelledDrop, Path]]":
    """The drops to train on, and the paths of those that are still to be registered."""
    from virnucpro_assets.errors import InputError
    from virnucpro_assets.intake.registration import check_arrived
    from virnucpro_assets.training.labelled_drops import labelled_paths
    from virnucpro_assets.training.labels import read_labels

    if labels is not None:
        labelled = read_labels(labels)
        for one in labelled:
            # Before Dagster is given the name: a misspelt one would stay as a partition.
            check_arrived(one.drop, settings)
        return labelled, {}
    if not virus or not others:
        raise InputError(
            "training sources",
            found=f"{len(virus)} of viruses and {len(others)} of others",
            expected="files of both classes, or a table",
            advice="Give --virus and --others, or --labels.",
        )
    paths = labelled_paths(virus, others)
    return list(paths), paths
