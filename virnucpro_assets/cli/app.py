"""The application that all commands belong to, the options that several share, and what starts the work on a drop."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from virnucpro_assets import __version__
from virnucpro_assets.cli.help import Commands, examples
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import TERMINAL, end_bar, say

if TYPE_CHECKING:
    from virnucpro_assets.settings import Settings


def be_quiet(quiet: bool) -> bool:
    """Leave out progress and notes of this command, or show them."""
    TERMINAL.setLevel(logging.WARNING if quiet else logging.INFO)
    return quiet


app = typer.Typer(
    cls=Commands,
    help="Find viruses in short sequence reads.",
    epilog=examples(
        "virnucpro demo --out demo-results",
        "virnucpro models fetch DNABERT-S",
        "virnucpro predict sample_R1.fastq.gz sample_R2.fastq.gz --out results",
        "virnucpro drops",
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


READS = typer.Argument(
    parser=user_path,
    metavar="READS",
    help="FASTA, FASTQ (plain, gzip, zstd, bzip2, xz) or unaligned BAM files; - or /dev/stdin is standard input.",
)
Reads = Annotated[list[Path], READS]
OptionalReads = Annotated[list[Path] | None, READS]
Results = Annotated[
    Path,
    typer.Option(
        "--out", parser=user_path, metavar="FOLDER", help="Folder for the tables, the hits and the report."
    ),
]
Drop = Annotated[str, typer.Argument(metavar="DROP", help="The drop's name.")]
Delete = Annotated[
    bool, typer.Option("--delete/--dry-run", help="Remove what is listed; the default only lists it.")
]
Length = Annotated[
    Literal["300", "500"] | None,
    typer.Option("--chunk-length", help="Bases of a chunk; default: the setting, 300."),
]
Repeats = Annotated[
    Literal["suffix", "refuse"] | None,
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
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=be_quiet, help="Show no progress and no notes: only warnings and errors."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the results as JSON, an object a line, instead of text.")
]


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version where it is asked for."""
    if show:
        typer.echo(f"virnucpro-assets {__version__}")
        raise typer.Exit


def materialise(drop: str, *, replace: bool) -> None:
    """Run the three jobs of a drop, which reuse what is finished; `replace` replaces what does not fit the settings."""
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.defs.runs import materialise_drop
    from virnucpro_assets.demo.recognise import demo_line
    from virnucpro_assets.inference.devices import find_devices
    from virnucpro_assets.intake.registration import set_aside_other_versions
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.storage.drops import DropStore, check_key

    settings = load_settings()
    find_devices(settings.devices, visible=settings.visible_gpus)
    if replace:
        set_aside_other_versions(DropStore(settings.data_root), check_key(drop))
    source = DropStore(settings.data_root).source(check_key(drop))
    if line := demo_line(settings.model_folders(source.chunk_length if source else settings.chunk_length)):
        say(line)
    with open_instance(settings) as instance:
        materialise_drop(instance, settings, check_key(drop), replace=replace)
    end_bar()


def print_results(drop: str, settings: "Settings", files: Sequence[Path], *, as_json: bool) -> None:
    """Print the files of a finished drop, and its counts, checks and report, as text or as a line of JSON."""
    from virnucpro_assets.reports.drop_lines import summary_fields, summary_lines

    if as_json:
        found = {**summary_fields(drop, settings), "files": [str(path) for path in files]}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in (*files, *summary_lines(drop, settings, files)):
        typer.echo(line)
