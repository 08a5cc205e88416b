"""The commands on drops: the same assets and the same Dagster instance as the UI."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virnucpro_assets import __version__
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.errors import InputError, VirnucproError
from virnucpro_assets.files.user_paths import user_path

if TYPE_CHECKING:
    from virnucpro_assets.reports.drop_state import DropState
    from virnucpro_assets.sequences.read_files import ReadFile

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


_READS = typer.Argument(
    parser=user_path, help="FASTA, FASTQ (plain, gzip, zstd, bzip2, xz) or unaligned BAM files."
)
Reads = Annotated[list[Path], _READS]
OptionalReads = Annotated[list[Path] | None, _READS]
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


@app.command(
    epilog="Examples: virnucpro predict sample.fastq.gz --out results | "
    "virnucpro predict s_R1.fastq.gz s_R2.fastq.gz --out results --name s --chunk-length 500 | "
    "virnucpro predict --sheet samples.csv --out results"
)
def predict(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=user_path,
            metavar="FOLDER",
            help="Folder for the tables, the hits and the report.",
        ),
    ],
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
    replace: Replace = False,
) -> None:
    """Call viruses in reads: from files to tables, hits and a report."""
    with one_line_errors():
        from virnucpro_assets.intake.registration import key_from_name

        options: dict[str, Any] = {
            "chunk_length": int(chunk_length.value) if chunk_length else None,
            "duplicates": duplicates.value if duplicates else None,
            "min_score": min_score,
            "replace": replace,
        }
        if bool(reads) == bool(sheet) or (sheet and (name or paired or interleaved)):
            raise InputError(
                "options",
                found="--sheet beside READS, --name, --paired or --interleaved" if sheet else "no READS",
                expected="files of reads, or a sample sheet alone (--sheet)",
                advice="A sheet says names and pairs itself." if sheet else "Give the files.",
            )
        if sheet:
            _predict_sheet(sheet, out, **options)
            return
        files = _files(reads or [], paired=paired, interleaved=interleaved)
        _predict(name or key_from_name(files[0].path), files, out, **options)


@app.command(epilog="Example: virnucpro demo --out demo-results")
def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=user_path,
            metavar="FOLDER",
            help="Folder for the tables, the hits and the report.",
        ),
    ],
) -> None:
    """Call viruses in the embedded demo reads, and say how good the calls are."""
    with one_line_errors():
        from virnucpro_assets.demo.paths import DROP_FILE
        from virnucpro_assets.pipeline.report import summary_lines
        from virnucpro_assets.sequences.read_files import ReadFile
        from virnucpro_assets.settings import load_settings

        _predict("demo", [ReadFile(DROP_FILE)], out, replace=True)
        for line in summary_lines("demo", load_settings()):
            typer.echo(line)


@app.command(epilog="Example: virnucpro prepare reads.fa --out prepared --chunk-length 500")
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
        from virnucpro_assets.sequences.prepare import prepare as write_prepared
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        check_out(out)
        summary = write_prepared(
            _files(reads, paired=paired, interleaved=interleaved),
            out,
            chunk_length=int(chunk_length.value) if chunk_length else settings.chunk_length,
            duplicates=duplicates.value if duplicates else settings.duplicates,
        )
        typer.echo(
            f"{summary.reads} reads, {summary.chunks} chunks, {summary.candidates} candidates in {out}"
        )
        for remark in summary.remarks:
            typer.echo(f"note: {remark}", err=True)
        if summary.with_u:
            typer.echo(f"reads with a U, which is read as T: {summary.with_u}", err=True)
        if summary.unreadable:
            typer.echo(f"candidates with under half of their codons readable: {summary.unreadable}", err=True)


@app.command(epilog="Examples: virnucpro drops | virnucpro drops --missing | virnucpro drops --missing --run")
def drops(
    missing: Annotated[
        bool, typer.Option("--missing", help="List the drops and deliveries without results, with commands.")
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="With --missing: materialise them, one by one.")] = False,
) -> None:
    """List the drops with their state and its reason: not begun, running, failed, held back or done.

    Deliveries that are no drops follow, as the last scan of the drops folder found them.
    """
    with one_line_errors():
        if missing or run:
            _missing(run=run)
            return
        from virnucpro_assets.defs.drop_states import drop_states
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.intake.open_deliveries import open_delivery_lines
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            header, *lines = drop_states(instance, settings)
        typer.echo(header)
        for line in lines:
            typer.echo(line)
        if not lines:
            typer.echo(
                f"no drop in {settings.data_root.absolute()}; begin with `virnucpro predict`", err=True
            )
        for line in open_delivery_lines(settings):
            typer.echo(line)


@app.command(epilog="Examples: virnucpro materialize sample | virnucpro materialize sample --replace")
def materialize(drop: Drop, replace: Replace = False) -> None:
    """Materialise every asset of a drop, registered before or copied into the drops folder."""
    with one_line_errors():
        from virnucpro_assets.drops.stage_locks import registration_lock
        from virnucpro_assets.intake.registration import check_arrived, left_aside
        from virnucpro_assets.pipeline.report import summary_lines
        from virnucpro_assets.settings import load_settings

        # Before the orchestrator hears the name: a misspelt one would stay as a partition.
        check_arrived(drop, load_settings())
        for line in left_aside(drop, load_settings()):
            _progress(f"note: {line}")
        with registration_lock(drop, load_settings(), _progress):
            _materialise(drop, replace=replace)
        for line in summary_lines(drop, load_settings()):
            typer.echo(line)


@app.command(epilog="Examples: virnucpro retry | virnucpro retry sample other")
def retry(
    drops: Annotated[
        list[str] | None, typer.Argument(help="Drops; by default all of which something failed.")
    ] = None,
) -> None:
    """Make again what failed and what depends on it: of the embeddings the failed ranks only."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.defs.runs import retry_drops
        from virnucpro_assets.demo.recognise import saying_demo_models
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        models = settings.model_folders(settings.chunk_length)
        with saying_demo_models(models, _progress), open_instance(settings) as instance:
            errors = retry_drops(instance, settings, drops or [], typer.echo)
    if errors:
        raise typer.Exit(errors[0].exit_code)


@app.command(epilog="Example: virnucpro report sample")
def report(drop: Drop) -> None:
    """Print the counts of a drop and where its report is; of one that is not done its state and the reason."""
    with one_line_errors():
        from virnucpro_assets.pipeline.report import summary_lines
        from virnucpro_assets.reports.drop_state import require_done
        from virnucpro_assets.settings import load_settings

        require_done(drop, state := _state(drop))
        for line in summary_lines(drop, load_settings()):
            typer.echo(line)
        typer.echo(f"state: done, {state.reason}")


@app.command(epilog="Example: virnucpro checks sample")
def checks(drop: Drop) -> None:
    """Print every check of a drop and write its check report; ends with 0 if it is done, with 5 if it is held back."""
    with one_line_errors():
        from virnucpro_assets.defs.calls import record_check_report
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.drops.work import DropWork
        from virnucpro_assets.reports.check_pages import check_lines, write_check_report
        from virnucpro_assets.reports.drop_state import require_done
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        work = DropWork.on(drop, settings, _progress)
        found = write_check_report(work)
        with open_instance(settings) as instance:
            record_check_report(instance, work, found)
        for line in check_lines(found):
            typer.echo(line)
        typer.echo(f"report: {work.folder.check_page.absolute()}")
        require_done(drop, state := _state(drop))
        typer.echo(f"state: done, {state.reason}")


@app.command(epilog="Examples: virnucpro cleanup | virnucpro cleanup sample --delete")
def cleanup(
    drop: Annotated[str | None, typer.Argument(help="The drop's name; default: all drops.")] = None,
    delete: Delete = False,
) -> None:
    """List what nobody needs any more, with size and reason: damaged, replaced, unfinished, past its time."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.defs.statuses import drops_at_work
        from virnucpro_assets.maintenance.cleanup import clean_up
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            at_work = drops_at_work(instance)
        found = clean_up(settings, keys=[drop] if drop else None, delete=delete, at_work=at_work)
        for line in found.lines():
            typer.echo(line)


@app.command(epilog="Examples: virnucpro forget sample | virnucpro forget sample --delete")
def forget(
    drop: Drop,
    delete: Delete = False,
) -> None:
    """Take a drop back: remove its partition, its data and its record; files of reads and runs stay."""
    with one_line_errors():
        from virnucpro_assets.defs.forget import forget_drop
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            for line in forget_drop(instance, settings, drop, delete=delete):
                typer.echo(line)


@app.command("settings", epilog="Example: virnucpro settings")
def show_settings() -> None:
    """Print every setting with its value and meaning; secrets are not shown."""
    with one_line_errors():
        from virnucpro_assets.settings import load_settings
        from virnucpro_assets.settings_table import in_use

        for name, value, meaning in in_use(load_settings()):
            typer.echo(f"{name} = {value}  # {meaning}")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version where it is asked for."""
    if show:
        typer.echo(f"virnucpro-assets {__version__}")
        raise typer.Exit


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _predict_sheet(sheet: Path, out: Path, **options: Any) -> None:
    """Predict each sample of a sheet, after a line for each that cannot be used.

    One that fails leaves the others alone; the first failure decides the exit code.
    """
    from virnucpro_assets.drops.disk_space import check_out
    from virnucpro_assets.intake.sample_sheet import read_sample_sheet
    from virnucpro_assets.sequences.read_files import require_plain_file
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
            typer.echo(f"{sample.name or 'a row without a sample'}: {error}", err=True)
            failures.append(error)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _predict(drop: str, files: "list[ReadFile]", out: Path, *, replace: bool = False, **options: Any) -> None:
    from virnucpro_assets.calling.routing import classifiers_in_use
    from virnucpro_assets.defs.forget import forget_partition
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.drops.disk_space import check_data_root, check_out
    from virnucpro_assets.drops.stage_locks import registration_lock
    from virnucpro_assets.files.outputs import check_outputs
    from virnucpro_assets.intake.registration import register_reads
    from virnucpro_assets.maintenance.forget import kept_if_indexed
    from virnucpro_assets.pipeline.run import RESULTS, export_results
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.storage.drops import DropStore

    settings = load_settings()
    check_out(out)
    check_outputs(out, RESULTS, [file.path for file in files])
    check_data_root(settings.data_root)
    # Hours of embeddings would come before the step that asks for it.
    classifiers_in_use(settings, options.get("chunk_length") or settings.chunk_length)

    def forgotten() -> None:
        with open_instance(settings) as instance:
            forget_partition(instance, drop)

    with registration_lock(drop, settings, _progress), kept_if_indexed(drop, settings, forgotten):
        register_reads(drop, files, settings, replace=replace, **options)
        _materialise(drop, replace=replace)
        for path in export_results(DropStore(settings.data_root).current(drop)[1], out):
            typer.echo(path)


def _files(reads: list[Path], **how: bool) -> "list[ReadFile]":
    """The files with their mates; the terminal says which look like mates and are not taken as such."""
    from virnucpro_assets.sequences.read_files import pair_files
    from virnucpro_assets.sequences.reads import likely_mates

    files = pair_files(reads, **how)
    for line in likely_mates(files):
        _progress(f"note: {line}.")
    return files


def _missing(*, run: bool) -> None:
    """Show the drops without results or, with `run`, materialise each; the first failure decides the exit code."""
    from virnucpro_assets.defs.drop_states import records_of
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.drops.stage_locks import registration_lock
    from virnucpro_assets.intake.open_deliveries import refused_lines
    from virnucpro_assets.reports.drop_state import missing_drops
    from virnucpro_assets.settings import load_settings

    failures, settings = [], load_settings()
    with open_instance(settings) as instance:
        records = records_of(instance, settings)
    for drop, state in missing_drops(settings, records).items():
        if state.state == "running" or not run:
            command = f"# {drop} " if state.state == "running" else f"virnucpro materialize {drop}  #"
            typer.echo(f"{command} {state.state}: {state.reason}")
            continue
        try:
            with registration_lock(drop, settings, _progress):
                _materialise(drop, replace=False)
            typer.echo(f"{drop}: done")
        except VirnucproError as error:
            typer.echo(f"{drop}: {error}", err=True)
            failures.append(error)
    for line in refused_lines(settings):
        typer.echo(line, err=True)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _state(drop: str) -> "DropState":
    from virnucpro_assets.defs.drop_states import state_of_drop
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.settings import load_settings

    settings = load_settings()
    with open_instance(settings) as instance:
        return state_of_drop(instance, settings, drop)


def _materialise(drop: str, *, replace: bool) -> None:
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.defs.runs import materialise_drop
    from virnucpro_assets.demo.recognise import saying_demo_models
    from virnucpro_assets.inference.devices import find_devices
    from virnucpro_assets.intake.other_versions import set_aside_other_versions
    from virnucpro_assets.settings import load_settings
    from virnucpro_assets.storage.drops import DropStore, check_key

    settings = load_settings()
    find_devices(settings.devices, visible=settings.visible_gpus)
    if replace:
        set_aside_other_versions(DropStore(settings.data_root), check_key(drop))
    source = DropStore(settings.data_root).source(check_key(drop))
    models = settings.model_folders(source.chunk_length if source else settings.chunk_length)
    with saying_demo_models(models, _progress), open_instance(settings) as instance:
        materialise_drop(instance, settings, check_key(drop), replace=replace)
