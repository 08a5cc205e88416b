"""The command line: wrong input ends with one line and nothing half-made, odd input goes through."""

import gzip
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets_tests.golden_prep import GOLDEN, without_rna
from virnucpro_assets_tests.results import TABLES
from virnucpro_assets_tests.unaligned_bam import unaligned_bam

pytestmark = pytest.mark.timeout(300)

NOISE = np.random.default_rng(3).bytes(5000)
FASTQ = b"".join(b"@r%d\n%b\n+\n%b\n" % (number, b"ACGTTGCA" * 20, b"I" * 160) for number in range(200))
GROUPS = {
    "From reads to results": ["predict", "demo", "prepare"],
    "Drops": ["drops", "materialize", "retry", "report", "checks", "summary", "cleanup", "forget"],
    "Models and classifiers": ["models", "train", "classifiers"],
    "Contigs": ["reads-from-contigs"],
    "This installation": ["settings", "init", "ui"],
}
COMMANDS = [command for commands in GROUPS.values() for command in commands]


BAM = unaligned_bam({f"b{number}": ("ACGTTGCA" * 40, "TTGCA" * 40) for number in range(3000)})


@dataclass(frozen=True)
class Wrong:
    """A mistake, and the line it ends with after `error: ` and, for a file, its path."""

    line: str
    content: bytes | None = None
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    of_predict: bool = False
    exit_code: int = 2


MISTAKES = {
    "noise": Wrong(": found binary data (bytes ", NOISE),
    "protein": Wrong(
        ", record 1 (sp|P1|X), letter 5: found 'L'; expected nucleotide letters",
        b">sp|P1|X protein\nMKVHLAEG\n",
    ),
    "short_quality": Wrong(
        ", record at line 5: found a quality of 4 characters; expected 8",
        b"@a\nACGT\n+\nIIII\n@b\nACGTACGT\n+\nIIII\n",
    ),
    "cut_gzip": Wrong(": found the end of the file inside its compressed data", gzip.compress(FASTQ)[:-20]),
    "cut_bam": Wrong(": found ", BAM[: len(BAM) // 2]),
    "no_id": Wrong(", record 2: found a header without an id", b">a\nACGT\n>\nACGT\n"),
    "repeats": Wrong(
        ", record 3: found the name 'a' again, which record 1 of ",
        b">a\nACGT\n>b\nACGT\n>a\nACGTT\n",
        options=("--duplicates", "refuse"),
    ),
    "folder": Wrong("/folder: found "),
    "missing": Wrong("/missing: found no "),
    "pipe": Wrong(": found a pipe; expected a file of reads. Write it to a file, and give the path of that."),
    "bad_name": Wrong(
        "drop key, 'a|b': found a name of 3 characters that does not fit",
        FASTQ,
        ("--name", "a|b"),
        of_predict=True,
    ),
    "no_gpu": Wrong(
        "setting devices, 'cuda:7': found the GPUs ",
        FASTQ,
        environment=(("VIRNUCPRO_DEVICES", "cuda:7"),),
        of_predict=True,
    ),
    "no_ranks": Wrong(
        "setting ranks: found '0'; expected greater than 0. Set VIRNUCPRO_RANKS or correct virnucpro.toml.",
        FASTQ,
        environment=(("VIRNUCPRO_RANKS", "0"),),
    ),
    "out_is_a_file": Wrong(
        "/taken: found a file; expected a folder for the results. ", FASTQ, ("--out", "taken")
    ),
}
CASES = [
    (command, name)
    for command in ("predict", "prepare")
    for name, mistake in MISTAKES.items()
    if command == "predict" or not mistake.of_predict
]


@dataclass(frozen=True)
class Mistakes:
    """An installation after all mistakes were made in it, and what each one ended with."""

    installation: Any
    outcomes: dict[tuple[str, str], Any]


@pytest.fixture(scope="module")
def mistakes(new_installation: Callable[[str], Any]) -> Mistakes:
    installation = new_installation("mistakes")
    (installation.folder / "folder").mkdir()
    (installation.folder / "taken").touch()
    os.mkfifo(installation.folder / "pipe")
    lines = []
    for command, name in CASES:
        mistake = MISTAKES[name]
        if mistake.content is not None:
            (installation.folder / name).write_bytes(mistake.content)
        out = () if "--out" in mistake.options else ("--out", f"out-{command}-{name}")
        lines.append(
            ([command, str(installation.folder / name), *out, *mistake.options], dict(mistake.environment))
        )
    return Mistakes(installation, dict(zip(CASES, installation.run_all(lines), strict=True)))


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_mistake_ends_with_one_line_and_its_exit_code(mistakes: Mistakes, command: str, name: str) -> None:
    outcome, mistake = mistakes.outcomes[command, name], MISTAKES[name]
    assert outcome.trace == ""
    assert outcome.exit_code == mistake.exit_code
    assert outcome.stdout == ""
    *notes, error = outcome.stderr.splitlines()
    assert re.fullmatch(r"error: .+: found .+; expected .+\. [A-Z].+\.", error), outcome.stderr
    assert [line.split(" (")[0] for line in notes] in ([], ["demo model in use"])
    is_of_file = mistake.line[0] in ":,"
    start = f"{mistakes.installation.folder / name}{mistake.line}" if is_of_file else mistake.line
    assert start in error.removeprefix("error: ")


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_mistake_leaves_nothing_half_made(mistakes: Mistakes, command: str, name: str) -> None:
    installation = mistakes.installation
    assert mistakes.outcomes[command, name].exit_code == 2
    assert not (installation.folder / f"out-{command}-{name}").exists()
    assert [path for path in installation.folder.glob("*") if ".partial-" in path.name] == []
    key = name.replace("_", "-") if (installation.data_root / name.replace("_", "-")).exists() else name
    assert not (installation.data_root / key).exists()
    assert installation.leftovers() == []


def test_no_drop_is_left_of_all_mistakes(mistakes: Mistakes) -> None:
    with dg.DagsterInstance.from_config(str(mistakes.installation.folder / "dagster")) as instance:
        assert instance.get_runs_count() > 5
        assert instance.get_dynamic_partitions("sequence_drops") == []


def test_the_console_script_ends_in_the_same_way(mistakes: Mistakes) -> None:
    outcome = mistakes.installation.run(
        "prepare", str(mistakes.installation.folder / "no_id"), "--out", "prepared"
    )
    expected = mistakes.outcomes["prepare", "no_id"]
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (2, "", expected.stderr)
    assert not (mistakes.installation.folder / "prepared").exists()


@pytest.mark.slow
def test_min_score_changes_the_hits_and_nothing_else(predicted: Any) -> None:
    calls = pq.read_table(predicted.out / "read_calls.parquet").to_pylist()
    scores = {row["name"]: row["max_score_1"] for row in calls if row["call"] == "Viral"}
    threshold = sorted(scores.values())[len(scores) // 2]
    reads = predicted.installation.folder.parent / "min"
    source = next(predicted.installation.data_root.glob("*/source.toml")).read_text()
    (path,) = re.findall(r'path = "(.+)"', source)
    outcome = predicted.installation.run("predict", path, "--min-score", repr(threshold), "--out", str(reads))
    assert outcome.exit_code == 0, outcome.stderr
    assert names_of_hits(predicted.out) == [name for name, score in scores.items() if score >= 0.5]
    assert names_of_hits(reads) == [name for name, score in scores.items() if score >= threshold]
    assert 0 < len(names_of_hits(reads)) < len(names_of_hits(predicted.out))
    for name in set(TABLES) - {"hits.fasta", "report.html"}:
        assert (reads / name).read_bytes() == (predicted.out / name).read_bytes()


def names_of_hits(out: Path) -> list[str]:
    """The names in a hits file, in its order."""
    lines = (out / "hits.fasta").read_text().splitlines()
    return [line[1:].split()[0] for line in lines if line.startswith(">")]


def unwrapped(fasta: str) -> list[list[str]]:
    """First word and sequence of every record; the golden files break the sequences of chunks."""
    return [
        [header.split()[0], "".join(lines).upper()]
        for header, *lines in (record.splitlines() for record in fasta.split(">")[1:])
    ]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("VIRNUCPRO_DATA_ROOT", "VIRNUCPRO_DEVICES", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("case", ["edge_300", "edge_500", "lambda_300"])
def test_prepare_writes_the_golden_files(in_folder: Path, case: str) -> None:
    sample, length = case.split("_")
    arguments = ["prepare", str(GOLDEN / f"{sample}.fa"), "--out", "prepared", "--chunk-length", length]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    for name in ("nucleotide.fa", "protein.faa"):
        golden = (GOLDEN / f"{case}.{name}").read_text()
        assert without_rna((in_folder / "prepared" / name).read_text()) == without_rna(golden)
    chunks = (in_folder / "prepared" / "chunks.fa").read_text()
    assert unwrapped(chunks) == unwrapped((GOLDEN / f"{case}.chunks.fa").read_text())
    assert sorted(path.name for path in in_folder.rglob("[!.]*")) == [
        "chunks.fa",
        "nucleotide.fa",
        "prepared",
        "protein.faa",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(in_folder: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    examples = result.stdout.partition("Examples:\n")[2].splitlines()
    assert any(line.startswith(f"    virnucpro {command}") for line in examples)
    # A cut summary ends so, and a type of Python's is in such brackets.
    assert "..." not in re.sub(r"[\[{][A-Z]+[\]}]\.\.\.|COMMAND \[ARGS\]\.\.\.", "", result.stdout)
    assert "<list" not in result.stdout


def test_the_help_lists_every_command_in_its_group_with_a_whole_summary(in_folder: Path) -> None:
    help_ = CliRunner().invoke(app, ["--help"]).stdout
    sections = dict(re.findall(r"^(\w.*):\n((?:  .*\n)+)", help_, re.MULTILINE))
    listed = {title: re.findall(r"^  (\w\S*)  ", sections[title], re.MULTILINE) for title in GROUPS}
    assert listed == GROUPS
    assert list(sections) == ["Options", *GROUPS]
    whole = "Print every check of a drop and write its check report; ends with 0 if it is done, with 5 if it is held"
    assert whole in " ".join(help_.split())
    assert sorted(name for names in listed.values() for name in names) == sorted(
        command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        for command in (*app.registered_commands, *app.registered_groups)
    )


@pytest.mark.parametrize(
    ("drop", "line"),
    [
        (
            "never",
            "error: drop never: found no such drop; expected a drop that `virnucpro drops` shows",
        ),
        (
            "a b",
            "error: drop key, 'a b': found a name of 3 characters that does not fit; expected 1 to 64 letters",
        ),
    ],
)
def test_the_report_of_no_drop_is_refused(in_folder: Path, drop: str, line: str) -> None:
    result = CliRunner().invoke(app, ["report", drop])
    assert result.exit_code == 2
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1


def test_a_misspelt_drop_is_refused_and_leaves_no_trace(in_folder: Path) -> None:
    result = CliRunner().invoke(app, ["materialize", "mispelt"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: drop mispelt: found no delivery of this name in drops and no registered files; expected one of them. "
        "Copy the read files there, or use `virnucpro predict READS...`.\n"
    )
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ranks = ", "error: virnucpro.toml: found Invalid value"),
        (
            "rank = 3",
            "error: setting rank: found a name that no setting has; expected the name of a setting, the nearest is ",
        ),
        (
            "[calls]\nviral_above = 'x'",
            "error: setting calls.viral_above: found 'x'; expected a valid number",
        ),
    ],
)
def test_a_wrong_settings_file_is_named(in_folder: Path, text: str, line: str) -> None:
    (in_folder / "virnucpro.toml").write_text(text)
    result = CliRunner().invoke(app, ["report", "x"])
    assert result.exit_code == 2
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1
