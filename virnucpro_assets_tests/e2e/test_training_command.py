"""Training from the command line: in use, kept out, gone back from, and named by predictions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.tables import read_tables
from virnucpro_assets_tests.conftest import Installation, Outcome
from virnucpro_assets_tests.labelled import write_labelled_reads

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

FAST = ("--learning-rate", "0.01", "--batch-size", "64", "--epochs", "8")
USELESS = ("--learning-rate", "1e-9", "--epochs", "1")
TABLE = "drop\tlabel\tsource\nvirus-virus\tvirus\t\nothers-others\tothers\t\n"
KEPT = f"labels-{sha256(TABLE.encode()).hexdigest()[:12]}.tsv"
LABELS = ("--labels", f"data/_training/{KEPT}")
RANKS = {"VIRNUCPRO_RANKS": "1"}


@dataclass(frozen=True)
class Told:
    """What a sequence of commands said, by name."""

    installation: Installation
    outcomes: dict[str, Outcome]

    def version(self, command: str) -> str:
        found = re.search(
            r"(?:version: |use for chunks of 300: )([0-9a-f]{12})", self.outcomes[command].stdout
        )
        return found[1] if found else ""


def run(installation: Installation, **commands: tuple[tuple[str, ...], dict[str, str]]) -> dict[str, Outcome]:
    """Run command lines, each with variables of its own, by name."""
    lines = [(words, RANKS | variables) for words, variables in commands.values()]
    return dict(zip(commands, installation.run_all(lines), strict=True))


@pytest.fixture(scope="module")
def told(new_installation: Callable[[str], Installation]) -> Told:
    """Training twice, the second time for nothing, and what else there is to say of classifiers."""
    installation = new_installation("trained")
    files = write_labelled_reads(installation.folder / "files", 100)
    sources = ("--virus", str(files["virus"]), "--others", str(files["others"]))
    (installation.folder / "misspelt.tsv").write_text("drop\tlabel\nnobody\tvirus\n")
    outcomes = run(
        installation,
        first=(("train", *sources, *FAST), {"VIRNUCPRO_CLASSIFIERS": "none"}),
        worse=(("train", *LABELS, *USELESS), {}),
        list=(("classifiers", "list"), {}),
        show=(("classifiers", "show", "0" * 12), {}),
        nothing=(("train",), {}),
        misspelt=(("train", "--labels", "misspelt.tsv"), {}),
        back=(("classifiers", "back"), {}),
        too_far=(("classifiers", "back"), {}),
    )
    return Told(installation, outcomes)


def test_the_commands_end_as_they_should(told):
    codes = {name: outcome.exit_code for name, outcome in told.outcomes.items()}
    assert codes == dict.fromkeys(told.outcomes, 0) | {
        "worse": 5,
        "show": 2,
        "nothing": 2,
        "misspelt": 2,
        "too_far": 2,
    }
    assert {name: outcome.trace for name, outcome in told.outcomes.items() if outcome.trace} == {}
    assert "in use for chunks of 300: the one of the settings" in told.outcomes["back"].stdout


def test_training_says_how_good_the_classifier_is_and_where_its_evaluation_is(told):
    lines = dict(line.split(": ", 1) for line in told.outcomes["first"].stdout.splitlines())
    assert re.fullmatch(
        r"AUROC 0\.\d{3} and F1 0\.\d{3} on the test split; no classifier was in use\.", lines["verdict"]
    )
    page = Path(lines["page"])
    assert lines["version"] == page.parent.name == sha256_of_file(page.parent / "model.safetensors")[:12]
    assert "By read length" in page.read_text()
    table = (told.installation.data_root / "_training" / KEPT).read_text()
    assert table == "drop\tlabel\tsource\nvirus-virus\tvirus\t\nothers-others\tothers\t\n"


def test_a_worse_one_is_kept_out_with_the_reason_in_one_line(told):
    first = told.version("first")
    error = told.outcomes["worse"].stderr.splitlines()[-1]
    assert error.startswith("error: check not_worse_than_in_use: found AUROC 0.")
    assert f"of {first}, the one in use: worse; expected AUROC and F1 at most 0.01 below" in error
    kept = re.search(r"kept as version ([0-9a-f]{12}), and not in use", error)[1]
    rows = told.outcomes["list"].stdout.splitlines()
    assert [line.split()[3] for line in rows[1:]] == [first, kept]
    assert ["  in use  " in line for line in rows[1:]] == [True, False]


def test_the_second_training_computes_no_embedding_again(told):
    assert "dnabert_s: " in told.outcomes["first"].stderr
    assert "dnabert_s: " not in told.outcomes["worse"].stderr
    assert "exists already" in told.outcomes["worse"].stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("show", "error: version '000000000000': found no such version; expected "),
        (
            "nothing",
            "error: training sources: found 0 of viruses and 0 of others; expected files of both classes",
        ),
        ("misspelt", "error: drop nobody: found no delivery of this name in drops and no registered files"),
        (
            "too_far",
            "no activation before the classifier of the settings; expected a version that was put into use.",
        ),
    ],
)
def test_a_mistake_is_one_line(told, command, line):
    assert line in told.outcomes[command].stderr
    assert len(told.outcomes[command].stderr.splitlines()) == 1


@pytest.mark.daemon
def test_predictions_name_the_version_in_use_before_and_after_going_back(told, small_reads):
    installation, first = told.installation, told.version("first")

    def predicted_with() -> str:
        return read_tables(DropStore(installation.data_root).current("d")[1].predictions).inputs[
            "classifier"
        ][:12]

    run(
        installation,
        use=(("classifiers", "use", first), {}),
        predict=(("predict", str(small_reads), "--out", "out", "--name", "d"), {}),
    )
    assert predicted_with() == first
    found = run(
        installation,
        forced=(("train", *LABELS, *USELESS), {"VIRNUCPRO_CLASSIFIER_MARGIN": "0.99"}),
        again=(("materialize", "d"), {}),
    )
    forced = Told(installation, found).version("forced")
    assert first != forced == predicted_with()
    found = run(installation, back=(("classifiers", "back"), {}), once_more=(("materialize", "d"), {}))
    assert Told(installation, found).version("back") == first == predicted_with()
