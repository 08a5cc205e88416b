"""The commands of the documentation run: all that need neither a GPU, nor a network, nor the published weights."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets_tests.conftest import Installation
from virnucpro_assets_tests.jobs import write_small_reads
from virnucpro_assets_tests.pages import PAGES, Command, commands

ELSEWHERE = {
    ("demo",): "e2e/test_command_line.py",
    ("ui",): "e2e/test_command_line.py",
    ("models", "fetch"): "e2e/test_models_command.py",
    ("models", "import"): "e2e/test_models_command.py",
    ("models", "verify"): "e2e/test_models_command.py",
    ("train",): "e2e/test_training_command.py",
    ("classifiers", "list"): "e2e/test_training_command.py",
    ("classifiers", "show"): "e2e/test_training_command.py",
    ("classifiers", "back"): "e2e/test_training_command.py",
    ("classifiers", "use"): "e2e/test_training_command.py",
}
"""Commands whose tests need files or drops of their own, with the files of those tests."""
QUICK = {("settings",), ("drops",), ("drops", "--missing"), ("models", "list"), ("cleanup",)}
VALUES = {
    "DROP": "sample",
    "READS": "sample.fastq.gz",
    "FOLDER": "results-again",
    "reads.fasta": "other.fasta",
    "$1": "reads.fastq.gz",
    "results/$(basename $1)": "results-reads",
}
"""What stands in the place of the words that a reader replaces."""


def lines_of_the_pages() -> list[tuple[str, ...]]:
    """The arguments of every `virnucpro` of a shell block, in the order of the pages, each once; what forgets last."""
    found = [command for page in PAGES for command in commands(page) if _is_ours(command)]
    lines = dict.fromkeys(tuple(VALUES.get(word, word) for word in one.words[1:]) for one in found)
    return sorted(lines, key=lambda line: line[0] == "forget")


def _is_ours(command: Command) -> bool:
    return command.program in {"virnucpro", "virnucpro.sif"} and not command.is_mention


def place_of_test(line: tuple[str, ...]) -> str:
    return ELSEWHERE.get(line[:1], "") or ELSEWHERE.get(line[:2], "")


def test_each_command_that_is_not_run_here_has_a_test_of_its_own() -> None:
    tests = Path(__file__).parents[1]
    for line in lines_of_the_pages():
        if name := place_of_test(line):
            text = (tests / name).read_text()
            missing = [word for word in line[:2] if word.isalpha() and word not in text]
            assert missing == [], f"{line}: {name}"


def test_the_quick_commands_run_where_there_is_no_drop(
    new_installation: Callable[[str], Installation],
) -> None:
    lines = [line for line in lines_of_the_pages() if line in QUICK]
    assert set(lines) == QUICK
    outcomes = new_installation("quick").run_all([(line, {}) for line in lines])
    assert {line: outcome for line, outcome in zip(lines, outcomes, strict=True) if outcome.exit_code} == {}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_commands_of_all_pages_run_one_after_the_other(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("pages")
    _write_inputs(installation.folder)
    lines = [line for line in lines_of_the_pages() if not place_of_test(line)]
    outcomes = installation.run_all([(line, {"VIRNUCPRO_RANKS": "1"}) for line in lines])
    assert {line: outcome for line, outcome in zip(lines, outcomes, strict=True) if outcome.exit_code} == {}
    for folder in ("results", "results-s", "results-all/liver", "results-reads"):
        assert (installation.folder / folder / "report.html").exists()


def _write_inputs(folder: Path) -> None:
    """The files that the pages name, and a delivery."""
    write_small_reads(folder / "sample.fastq")
    content = (folder / "sample.fastq").read_bytes()
    write_small_reads(folder / "other.fasta")
    mates = ("s_R1.fastq.gz", "s_R2.fastq.gz")
    for name in ("sample.fastq.gz", "reads.fastq.gz", *mates):
        (folder / name).write_bytes(gzip.compress(content))
    (folder / "samples.csv").write_text("sample,fastq_1,fastq_2\nliver,s_R1.fastq.gz,s_R2.fastq.gz\n")
    names = [line[1:].split()[0].decode() for line in content.splitlines()[::4]]
    mapped = (
        f"r{number}\t90\t0\t90\t+\t{name}\t900\t0\t90\t90\t90\t60\n" for number, name in enumerate(names)
    )
    (folder / "reads.paf").write_text("".join(mapped))
    (folder / "drops" / "run42").mkdir(parents=True)
    (folder / "drops" / "run42" / "lane1.fastq").write_bytes(content)
