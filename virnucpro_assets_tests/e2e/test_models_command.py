"""`virnucpro models` as a person uses it: list, import, show, verify, and every mistake one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, ESM2_FOLDER, classifier_folder
from virnucpro_assets_tests.conftest import Installation, Outcome
from virnucpro_assets_tests.models.published_files import fair_esm_module, save_fair_esm

pytestmark = pytest.mark.slow

SAVE_CLASSIFIER = Path(__file__).parent.parent / "models" / "save_classifier.py"


@pytest.fixture(scope="module")
def place(new_installation: Callable[[str], Installation]) -> Installation:
    place = new_installation("models")
    save_fair_esm(place.folder / "esm2_mine.pt", fair_esm_module(half=True))
    subprocess.run([sys.executable, str(SAVE_CLASSIFIER), "128", str(place.folder)], check=True)
    return place


@pytest.fixture(scope="module")
def outcomes(place: Installation) -> dict[str, Outcome]:
    """A whole session, in order."""
    chosen = {"VIRNUCPRO_ESM2": "esm2_mine", "VIRNUCPRO_DNABERT_S": "dna", "VIRNUCPRO_CLASSIFIERS": "models"}
    lines: dict[str, tuple[list[str], dict[str, str]]] = {
        "empty": (["list"], {}),
        "published": (["list", "--published"], {}),
        "esm2": (["import", "esm2_mine.pt"], {}),
        "again": (["import", "esm2_mine.pt"], {}),
        "dna": (["import", str(DNABERT_S_FOLDER), "--name", "dna"], {}),
        "classifier": (
            ["import", "model.pth", "--chunk-length", "300", "--esm2", "esm2_mine", "--dnabert-s", "dna"],
            {},
        ),
        "no length": (["import", "model.pth"], {}),
        "own classifier": (["import", str(classifier_folder(300)), "--chunk-length", "300"], {}),
        "unknown encoder": (["import", "model.pth", "--chunk-length", "300", "--esm2", "none"], {}),
        "list": (["list"], chosen),
        "list one in use": (["list"], {"VIRNUCPRO_ESM2": "esm2_mine"}),
        "show": (["show", "esm2_mine"], {}),
        "show classifier": (["show", "classifier_300"], {}),
        "show none": (["show", "../models"], {}),
        "verify": (["verify", "esm2_mine", "dna", "--device", "cpu"], {}),
        "verify in use": (["verify", "--device", "cpu", "--precision", "bfloat16"], chosen),
        "wrong precision": (["verify", "--precision", "int8"], {}),
        "wrong device": (["verify", "--device", "cuda:7"], {}),
        "too strict": (
            ["verify", "dna", "--device", "cpu", "--precision", "bfloat16"],
            {"VIRNUCPRO_MIN_COSINE": "0.9999999999"},
        ),
        "no revision": (["fetch", "someone/model"], {}),
        "no hub": (["fetch", "DNABERT-S"], {"HF_ENDPOINT": "http://127.0.0.1:9"}),
    }
    done = place.run_all([(["models", *arguments], variables) for arguments, variables in lines.values()])
    return dict(zip(lines, done, strict=True))


def test_the_models_in_use_and_an_empty_registry_are_listed(
    outcomes: dict[str, Outcome], place: Installation
) -> None:
    out = outcomes["empty"].stdout
    assert f"esm2                          {ESM2_FOLDER}" in out
    assert f"registry {place.folder / 'models'}\nit is empty" in out


def test_published_models_are_listed_with_size_and_licence(outcomes: dict[str, Outcome]) -> None:
    lines = outcomes["published"].stdout.splitlines()
    (large,) = (line for line in lines if line.startswith("esm2_t36_3B_UR50D"))
    assert large.split() == [
        *("esm2_t36_3B_UR50D", "2,832", "M", "10.55", "5.28", "MIT"),
        "facebook/esm2_t36_3B_UR50D@476b639933c8",
    ]
    assert len(lines) == 8


def test_what_was_imported_is_listed_with_what_it_is(
    outcomes: dict[str, Outcome], place: Installation
) -> None:
    assert [outcomes[name].exit_code for name in ("esm2", "dna", "classifier")] == [0, 0, 0]
    out = outcomes["list"].stdout
    models = place.folder / "models"
    assert f"esm2                          {models / 'esm2_mine'}\n" in out
    assert f"classifier for chunks of 500  {models / 'classifier_500'} (not installed)" in out
    rows = installed(outcomes["list"])
    assert set(rows) == {"classifier_300", "dna", "esm2_mine"}
    kind = ("esm2,", "32", "wide:", "shape", "of", "no", "published", "model", "float16", "0.1")
    assert rows["esm2_mine"].split() == ["esm2_mine", "yes", *kind, str(place.folder / "esm2_mine.pt")]
    assert "classifier, chunks of 300, 128 wide" in rows["classifier_300"]
    assert "SHA-256" in rows["classifier_300"]


def installed(outcome: Outcome) -> dict[str, str]:
    """The lines about the models in the registry, by name."""
    return {line.split()[0]: line for line in outcome.stdout.split("registry ")[1].splitlines()[2:]}


@pytest.mark.parametrize(
    ("listed", "in_use"),
    [
        ("list", {"classifier_300": "yes", "dna": "yes", "esm2_mine": "yes"}),
        ("list one in use", {"classifier_300": "no", "dna": "no", "esm2_mine": "yes"}),
    ],
)
def test_an_installed_model_that_is_not_in_use_is_marked(
    outcomes: dict[str, Outcome], listed: str, in_use: dict[str, str]
) -> None:
    assert {name: line.split()[1] for name, line in installed(outcomes[listed]).items()} == in_use


def test_a_model_is_shown_with_its_memory_and_its_setting(outcomes: dict[str, Outcome]) -> None:
    out = outcomes["show"].stdout
    assert "kind: esm2\n" in out
    assert (
        "memory in float16: 0.00 GiB of weights, about 0.01 GiB for a pack of 8,192 tokens (computed)" in out
    )
    assert out.endswith('use it, in virnucpro.toml: esm2 = "esm2_mine"\n')
    assert "encoders: dnabert_s " in outcomes["show classifier"].stdout
    assert outcomes["show classifier"].stdout.endswith('use it, in virnucpro.toml: classifiers = "models"\n')


def test_verified_encoders_are_printed_with_cosine_and_difference(outcomes: dict[str, Outcome]) -> None:
    first, second = outcomes["verify"].stdout.splitlines()
    assert "models/esm2_mine: esm2 in float32 on cpu against fair-esm: smallest cosine 1.0000" in first
    assert "models/dna: dnabert_s in float32 on cpu against plain float32: smallest cosine 1.0000" in second
    assert first.endswith(": passed")
    in_use = outcomes["verify in use"].stdout.splitlines()
    assert [line.split(" in bfloat16")[0].split(": ")[1] for line in in_use] == ["dnabert_s", "esm2"]


def test_an_encoder_that_differs_ends_with_five(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["too strict"].exit_code == 5
    assert outcomes["too strict"].stdout.endswith(": FAILED\n")
    assert "found embeddings that are not those of the reference" in outcomes["too strict"].stderr


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("again", 2, "found a model; expected a name that is free"),
        ("no length", 2, "A classifier of VirNucPro ends in .pth and needs --chunk-length."),
        (
            "own classifier",
            2,
            "found a classifier of this platform; expected one of the authors, a .pth file. It needs no import: "
            "name it classifier_300, and set `classifiers` to the folder above.",
        ),
        ("unknown encoder", 2, "models/none: found no model; expected one of classifier_300, dna, esm2_mine"),
        ("show none", 2, "name of a model: found '../models'"),
        ("wrong precision", 2, "precision: found 'int8'; expected float32, bfloat16, float16"),
        ("wrong device", 2, "device: found 'cuda:7'; expected cpu"),
        ("no revision", 2, "someone/model: found the revision ''; expected a commit"),
        ("no hub", 1, "http://127.0.0.1:9, zhihan1996/DNABERT-S: found"),
    ],
)
def test_a_mistake_is_one_line(outcomes: dict[str, Outcome], name: str, code: int, said: str) -> None:
    assert outcomes[name].exit_code == code
    (line,) = outcomes[name].stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        (
            "VIRNUCPRO_CLASSIFIERS",
            "nowhere",
            "setting classifiers: found no classifier for chunks of 300 in nowhere; expected the folder "
            "classifier_300 there. Import the published one (`virnucpro models import`, docs/models.md) or train one.",
        ),
        (
            "VIRNUCPRO_ESM2",
            "esm2_t36_3B_UR50D",
            "setting esm2: found esm2_t36_3B_UR50D, which is not installed in models; expected the name of an "
            "installed model, or its folder. Run `virnucpro models fetch esm2_t36_3B_UR50D`, or name another; "
            "`virnucpro models list` shows them.",
        ),
        (
            "VIRNUCPRO_DNABERT_S",
            "mine",
            "setting dnabert_s: found mine, which is not installed in models; expected the name of an installed "
            "model, or its folder. `virnucpro models list` shows the installed ones, the nearest is esm2_mine; "
            "docs/models.md says how to install others.",
        ),
        (
            "VIRNUCPRO_DNABERT_S",
            "/nowhere/DNABERT-S",
            "setting dnabert_s: found no folder /nowhere/DNABERT-S; expected the name of an installed model, or its "
            "folder. `virnucpro models list` shows the installed ones; docs/models.md says how to install others.",
        ),
    ],
)
def test_a_model_that_is_not_installed_is_named_before_anything_is_made(
    place: Installation, outcomes: dict[str, Outcome], setting: str, value: str, line: str
) -> None:
    assert outcomes["esm2"].exit_code == 0
    (place.folder / "one.fa").write_text(">one\nATGGCTGCAGGT\n")
    (done,) = place.run_all([(["predict", "one.fa", "--out", "out"], {setting: value})])
    assert done.exit_code == 2
    assert done.stderr == f"error: {line}\n"
    assert not list(place.data_root.glob("one/*"))
