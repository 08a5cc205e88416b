"""From files of reads to results: the commands that people begin with."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virnucpro_assets.cli.app import (
    AsJson,
    Interleaved,
    Length,
    OptionalReads,
    Paired,
    Quiet,
    Reads,
    Repeats,
    Replace,
    Results,
    app,
    materialise,
    print_results,
)
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import examples
from virnucpro_assets.errors import InputError, VirnucproError
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import TERMINAL, say

if TYPE_CHECKING:
    from virnucpro_assets.sequences.read_files import ReadFile


@app.command(
    epilog=examples(
        "virnucpro predict sample.fastq.gz --out results",
        "virnucpro predict s_R1.fastq.gz s_R2.fastq.gz --out results --name s --chunk-length 500",
        "virnucpro predict --sheet samples.csv --out results",
    )
)
def predict(
    out: Results,
    reads: OptionalReads = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            parser=user_path,
            metavar="SHEET",
            help="Sample sheet instead of READS: each sample is a drop with a folder of its own.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the drop; default: the first file's.")
    ] = None,
    chunk_length: Length = None,
    duplicates: Repeats = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            min=0,
            max=1,
            help="P(virus) that the best chunk of a Viral read needs to be a hit; default: the setting, 0.5.",
        ),
    ] = None,
    paired: Paired = False,
    interleaved: Interleaved = False,
    per_pair: Annotated[
        bool, typer.Option("--per-pair", help="Write pair_calls.tsv too: one row a pair of mates.")
    ] = False,
    replace: Replace = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Call viruses in reads: from files to tables, hits and a report."""
    with one_line_errors():
        from virnucpro_assets.intake.registration import key_from_name
        from virnucpro_assets.intake.standard_input import NAMES

        options: dict[str, Any] = {
            "chunk_length": int(chunk_length) if chunk_length else None,
            "duplicates": duplicates,
            "min_score": min_score,
            "per_pair": per_pair,
            "replace": replace,
            "as_json": as_json,
        }
        if bool(reads) == bool(sheet) or (sheet and (name or paired or interleaved)):
            raise _neither_reads_nor_sheet(has_sheet=sheet is not None)
        if sheet:
            _predict_sheet(sheet, out, **options)
            return
        given = reads or []
        files = _files(given, paired=paired, interleaved=interleaved)
        first = Path("stdin") if str(given[0]) in NAMES else given[0]
        _predict(name or key_from_name(first), files, out, **options)


def _neither_reads_nor_sheet(*, has_sheet: bool) -> InputError:
    return InputError(
        "options",
        found="--sheet beside READS, --name, --paired or --interleaved" if has_sheet else "no READS",
        expected="files of reads, or a sample sheet alone (--sheet)",
        advice="A sheet says names and pairs itself." if has_sheet else "Give the files.",
    )


@app.command(epilog=examples("virnucpro demo --out demo-results"))
def demo(out: Results, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Call viruses in the embedded demo reads, and say how good the calls are."""
    with one_line_errors():
        from virnucpro_assets.demo.paths import DROP_FILE
        from virnucpro_assets.reports.model_pages import require_demo_models
        from virnucpro_assets.sequences.read_files import ReadFile
        from virnucpro_assets.settings import load_settings

        require_demo_models(load_settings())
        _predict("demo", [ReadFile(DROP_FILE)], out, replace=True, as_json=as_json)


@app.command(epilog=examples("virnucpro prepare reads.fa --out prepared --chunk-length 500"))
def prepare(
    reads: Reads,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=user_path,
            metavar="FOLDER",
            help="Folder for chunks.fa, nucleotide.fa and protein.faa.",
        ),
    ],
    chunk_length: Length = None,
    duplicates: Repeats = None,
    paired: Paired = False,
    interleaved: Interleaved = False,
) -> None:
    """Write the chunks of reads and their stop-free frames, and compute nothing."""
    with one_line_errors():
        from virnucpro_assets.drops.disk_space import check_out
        from virnucpro_assets.errors import counted
        from virnucpro_assets.sequences.prepare import prepare as write_prepared
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        check_out(out)
        summary = write_prepared(
            _files(reads, paired=paired, interleaved=interleaved),
            out,
            chunk_length=int(chunk_length or settings.chunk_length),
            duplicates=duplicates or settings.duplicates,
        )
        counts = (
            counted(summary.reads, "read"),
            counted(summary.chunks, "chunk"),
            counted(summary.candidates, "candidate"),
        )
        typer.echo(f"{', '.join(counts)} in {out}")
        for remark in summary.remarks:
            say(f"note: {remark}")
        if summary.with_u:
            say(f"reads with a U, which is read as T: {summary.with_u}")
        if summary.unreadable:
            say(f"candidates with under half of their codons readable: {summary.unreadable}")


def _predict_sheet(sheet: Path, out: Path, **options: Any) -> None:
    """Predict each sample of a sheet, after a line for each that cannot be used.

    One that fails leaves the others alone; the first failure decides the exit code.
    """
    from virnucpro_assets.drops.disk_space import check_out
    from virnucpro_assets.files.user_paths import require_plain_file
    from virnucpro_assets.intake.sample_sheet import read_sample_sheet
    from virnucpro_assets.storage.drops import check_key

    require_plain_file(sheet, "a sample sheet")
    check_out(out)
    failures = []
    samples = read_sample_sheet(sheet)
    if not samples:
        raise InputError(sheet, found="no samples", expected="a row for each sample", advice="Add the rows.")
    for sample in sorted(samples, key=lambda sample: sample.error is None):
        try:
            if sample.error:
                raise sample.error
            _predict(check_key(sample.name), sample.files, out / sample.name, **options)
        except VirnucproError as error:
            TERMINAL.error(f"{sample.name or 'a row without a sample'}: {error}")
            failures.append(error)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _predict(
    drop: str, files: "list[ReadFile]", out: Path, *, as_json: bool, replace: bool = False, **options: Any
) -> None:
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.defs.maintenance import forget_partition
    from virnucpro_assets.drops.stage_locks import registration_lock
    from virnucpro_assets.intake.registration import register_reads
    from virnucpro_assets.maintenance.forget import kept_if_indexed
    from virnucpro_assets.pipeline.run import check_before, export_results
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.storage.drops import DropStore

    settings = load_settings()
    check_before(out, [file.path for file in files], settings, options.get("chunk_length"))

    def forgotten() -> None:
        with open_instance(settings) as instance:
            forget_partition(instance, drop)

    with registration_lock(drop, settings, say), kept_if_indexed(drop, settings, forgotten):
        register_reads(drop, files, settings, replace=replace, **options)
        materialise(drop, replace=replace)
        made = export_results(DropStore(settings.data_root).current(drop)[1], out)
    print_results(drop, settings, made, as_json=as_json)


def _standard_input_as_file() -> Path:
    """The file in which standard input is kept, to its end."""
    from virnucpro_assets.drops.disk_space import check_data_root
    from virnucpro_assets.intake.standard_input import keep_standard_input
    from virnucpro_assets.settings import load_settings

    if sys.stdin is None:
        raise InputError(
            "standard input", found="a closed stream", expected="reads", advice="Give files, or open it."
        )
    settings = load_settings()
    check_data_root(settings.data_root)
    return keep_standard_input(settings, sys.stdin.buffer)


def _files(reads: list[Path], **how: bool) -> "list[ReadFile]":
    """The files with their mates; the terminal says which look like mates and are not taken as such.

    Standard input is kept in a file of its own first.
    """
    from virnucpro_assets.intake.standard_input import NAMES
    from virnucpro_assets.sequences.read_files import pair_files
    from virnucpro_assets.sequences.reads import likely_mates

    if sum(str(path) in NAMES for path in reads) > 1:
        raise InputError(
            "standard input",
            found="it more than once",
            expected="it once",
            advice="Give mates in one stream (--interleaved), or as files.",
        )
    files = pair_files([_standard_input_as_file() if str(path) in NAMES else path for path in reads], **how)
    for line in likely_mates(files):
        say(f"note: {line}.")
    return files
