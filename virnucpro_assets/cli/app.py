"""The application that all commands belong to, the options that several share, and what starts the work on a drop."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from virnucpro_assets import __version__
from virnucpro_assets.files.user_paths import user_path

app = typer.Typer(
    help="Find viruses in short sequence reads.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ChunkLength(StrEnum):
    """Bases of a chunk; each has a classifier of its own."""

    short = "300"
    long = "500"


class Duplicates(StrEnum):
    """What to do with repeated read names."""

    suffix = "suffix"
    refuse = "refuse"


READS = typer.Argument(
    parser=user_path, help="FASTA, FASTQ (plain, gzip, zstd, bzip2, xz) or unaligned BAM files."
)
Reads = Annotated[list[Path], READS]
OptionalReads = Annotated[list[Path] | None, READS]
Results = Annotated[
    Path,
    typer.Option(
        "--out", parser=user_path, metavar="FOLDER", help="Folder for the tables, the hits and the report."
    ),
]
Drop = Annotated[str, typer.Argument(help="The drop's name.")]
Delete = Annotated[
    bool, typer.Option("--delete/--dry-run", help="Remove what is listed; the default only lists it.")
]
Length = Annotated[
    ChunkLength | None, typer.Option("--chunk-length", help="Bases of a chunk; default: the setting, 300.")
]
Repeats = Annotated[
    Duplicates | None,
    typer.Option("--duplicates", help="Repeated read names: suffix numbers them (the default), refuse ends."),
]
Paired = Annotated[
    bool, typer.Option("--paired", help="Take the files as pairs of mates, two by two, whatever their names.")
]
Interleaved = Annotated[
    bool,
    typer.Option("--interleaved", help="Take each file as pairs of alternating mates, whatever its name."),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Replace what is stored of this drop from other files, options or settings."
    ),
]


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version where it is asked for."""
    if show:
        typer.echo(f"virnucpro-assets {__version__}")
        raise typer.Exit


def progress(line: str) -> None:
    """Print a line of progress to standard error."""
    typer.echo(line, err=True)


def materialise(drop: str, *, replace: bool) -> None:
    """Run what is missing of a registered drop; with `replace` also what does not fit the settings."""
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.defs.runs import materialise_drop
    from virnucpro_assets.demo.recognise import saying_demo_models
    from virnucpro_assets.inference.devices import find_devices
    from virnucpro_assets.intake.registration import set_aside_other_versions
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.storage.drops import DropStore, check_key

    settings = load_settings()
    find_devices(settings.devices, visible=settings.visible_gpus)
    if replace:
        set_aside_other_versions(DropStore(settings.data_root), check_key(drop))
    source = DropStore(settings.data_root).source(check_key(drop))
    models = settings.model_folders(source.chunk_length if source else settings.chunk_length)
    with saying_demo_models(models, progress), open_instance(settings) as instance:
        materialise_drop(instance, settings, check_key(drop), replace=replace)
