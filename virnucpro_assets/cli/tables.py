"""Commands on tables that were written before."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from virnucpro_assets.cli.app import app
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import examples
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import say


@app.command(
    epilog=examples(
        "minimap2 contigs.fa reads.fq > reads.paf",
        "virnucpro reads-from-contigs --paf reads.paf --calls results/contig_calls.tsv --out by-contig",
    )
)
def reads_from_contigs(
    paf: Annotated[
        Path,
        typer.Option("--paf", parser=user_path, metavar="PAF", help="Reads mapped to contigs (minimap2)."),
    ],
    calls: Annotated[
        Path,
        typer.Option("--calls", parser=user_path, metavar="TSV", help="contig_calls.tsv of the contigs."),
    ],
    out: Annotated[
        Path, typer.Option("--out", parser=user_path, metavar="FOLDER", help="Folder for the table.")
    ],
    reads: Annotated[
        list[Path] | None,
        typer.Option(
            "--reads",
            parser=user_path,
            metavar="FILE",
            help="Files of the reads, so that those without an alignment are listed; may be repeated.",
        ),
    ] = None,
    min_identity: Annotated[
        float,
        typer.Option("--min-identity", min=0, max=1, help="Matching bases as a share of the alignment."),
    ] = 0.95,
    min_aligned_share: Annotated[
        float, typer.Option("--min-aligned-share", min=0, max=1, help="Aligned bases as a share of the read.")
    ] = 0.75,
    ties: Annotated[
        Literal["agree", "first", "none"],
        typer.Option(
            "--ties",
            help="Equally good contigs: agree calls a read if they have one call, first takes the first by name, "
            "none gives no call.",
        ),
    ] = "agree",
) -> None:
    """Give each read the call of the contig that it maps to best."""
    with one_line_errors():
        from virnucpro_assets.calling.reads_from_contigs import FILE, MappingRules, write_calls_of_reads
        from virnucpro_assets.sequences.read_files import pair_files
        from virnucpro_assets.settings import load_settings

        load_settings()
        rules = MappingRules(min_identity, min_aligned_share, ties)
        summary = write_calls_of_reads(paf, calls, out, rules, pair_files(reads or []))
        for what, count in sorted({**summary.calls, **summary.reasons}.items()):
            typer.echo(f"{what.replace('_', ' ')}: {count}")
        typer.echo(out / FILE)


@app.command(epilog=examples("virnucpro summary", "virnucpro summary --out tables sample other"))
def summary(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=user_path,
            metavar="FOLDER",
            help="Folder for the tables; default: _summary in the data root.",
        ),
    ] = None,
    drops: Annotated[
        list[str] | None, typer.Argument(metavar="DROP", help="Drops; default: all that are finished.")
    ] = None,
) -> None:
    """Write one table of many drops, and files for MultiQC: a row a drop with reads, calls, checks and versions."""
    with one_line_errors():
        from virnucpro_assets.drops.work import DropWork
        from virnucpro_assets.errors import counted
        from virnucpro_assets.reports.gather import gather_report
        from virnucpro_assets.reports.summary import write_summary
        from virnucpro_assets.settings import load_settings
        from virnucpro_assets.storage.drops import DropStore

        settings = load_settings()
        works = [
            DropWork.on(key, settings, lambda _: None)
            for key in drops or DropStore(settings.data_root).keys()
            if drops or DropStore(settings.data_root).is_listed(key)
        ]
        finished = [work for work in works if drops or work.folder.report.exists()]
        for work in works:
            if work not in finished:
                say(f"note: drop {work.drop.key} is not finished and left out")
        folder = out or settings.data_root / "_summary"
        rows = write_summary([gather_report(work) for work in finished], folder)
        typer.echo(f"{counted(len(rows), 'drop')} in {folder}")
