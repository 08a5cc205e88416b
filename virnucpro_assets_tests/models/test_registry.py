"""The registry: names, whole installs or none, cards, and classifiers bound to their encoders."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, ESM2_FOLDER
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models import registry as registry_module
from virnucpro_assets.models.classifier import Classifier, load_classifier
from virnucpro_assets.models.classifier_imports import import_classifier
from virnucpro_assets.models.configs import weights_bytes
from virnucpro_assets.models.encoder_imports import import_encoder
from virnucpro_assets.models.encoders import CATALOGUE, model_of_shape, published_model
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.models.loading import published_shapes
from virnucpro_assets.models.registry import Registry
from virnucpro_assets_tests.models.published_files import change_json, fair_esm_module, save_fair_esm

PROGRAM = Path(__file__).with_name("save_classifier.py")


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the authors' kind for the demo encoders: 96 and 64 numbers."""
    folder = tmp_path_factory.mktemp("classifier")
    subprocess.run([sys.executable, str(PROGRAM), "160", str(folder)], check=True)
    return folder / "model.pth"


def assert_answers(classifier: Classifier, folder: Path) -> None:
    """A classifier scores as the module that the program saved in a folder."""
    answers = torch.load(folder / "answers.pt", weights_only=True)
    found = torch.from_numpy(classifier.scores(answers["rows"].numpy()))
    assert float((found - answers["scores"]).abs().max()) <= 1e-6
    assert float(answers["scores"].std()) > 0.01


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", ".hidden", "-x", "a b", "ä", "x" * 65])
def test_a_name_that_could_be_a_path_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InputError, match="name of a model: found"):
        import_encoder(registry, ESM2_FOLDER, name or " ")
    assert not registry.root.exists()


def test_an_encoder_is_installed_with_a_card_that_says_what_it_is(registry: Registry, tmp_path: Path) -> None:
    path, module = tmp_path / "esm2_mine.pt", fair_esm_module(half=True)
    save_fair_esm(path, module)
    model = import_encoder(registry, path)
    card = model.card
    assert (model.name, card.kind, card.width, card.stored_as) == ("esm2_mine", "esm2", 32, "float16")
    assert (card.model, card.is_published, card.licence) == ("", False, "not known: see its source")
    assert card.files == {"esm2_mine.pt": sha256_of_file(path)}
    assert card.source == str(path)
    assert card.digest == read_model_folder(model.path).digest
    assert registry.names() == ["esm2_mine"]


def test_a_name_that_is_taken_is_refused_or_replaced_and_kept_aside(registry: Registry) -> None:
    import_encoder(registry, ESM2_FOLDER, "mine")
    with pytest.raises(InputError, match="found a model; expected a name that is free"):
        import_encoder(registry, DNABERT_S_FOLDER, "mine")
    assert registry.model("mine").card.kind == "esm2"
    import_encoder(registry, DNABERT_S_FOLDER, "mine", replace=True)
    assert registry.model("mine").card.kind == "dnabert_s"
    assert read_model_folder(registry.root / "mine.replaced-1").kind == "esm2"


def test_what_was_replaced_is_no_model_and_no_name_for_one(registry: Registry) -> None:
    import_encoder(registry, ESM2_FOLDER, "mine")
    import_encoder(registry, DNABERT_S_FOLDER, "mine", replace=True)
    assert registry.names() == ["mine"]
    for use in (registry.model, registry.path):
        with pytest.raises(
            InputError, match=r"found 'mine\.replaced-1'; expected .* no \.replaced-1 at its end"
        ):
            use("mine.replaced-1")
    assert registry.path("mine.replaced-x").name == "mine.replaced-x"


def install(registry: Registry, who: str, during: Callable[[], None] = lambda: None, **options: bool) -> None:
    with registry.installing("mine", **options) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "who").write_text(who)
        during()


@pytest.mark.parametrize("replace", [False, True])
def test_a_model_that_was_installed_in_the_meantime_stays_or_is_kept_aside(
    registry: Registry, replace: bool
) -> None:
    def other() -> None:
        install(registry, "other")

    if replace:
        install(registry, "one", other, replace=True)
        assert (registry.root / "mine" / "who").read_text() == "one"
        assert (registry.root / "mine.replaced-1" / "who").read_text() == "other"
    else:
        with pytest.raises(InputError, match="mine: found a model; expected a name that is free"):
            install(registry, "one", other)
        assert (registry.root / "mine" / "who").read_text() == "other"
    assert registry.names() == ["mine"]
    left = {path.name for path in registry.root.iterdir()} - {"mine.replaced-1"}
    assert left == {"mine"}


def test_a_file_of_the_name_is_not_written_over(registry: Registry) -> None:
    with pytest.raises(InputError, match="mine: found a model; expected a name that is free"):
        install(registry, "one", lambda: (registry.root / "mine").write_text("a file") and None)
    assert (registry.root / "mine").read_text() == "a file"


def test_of_two_replacements_at_once_both_are_kept(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, others = set_aside, iter(["other"])

    def set_aside_and_lose(path: Path, mark: str) -> Path:
        target = aside(path, mark)
        for who in others:
            install(registry, who)
        return target

    install(registry, "first")
    monkeypatch.setattr(registry_module, "set_aside", set_aside_and_lose)
    install(registry, "one", replace=True)
    kept = {path.name: (path / "who").read_text() for path in registry.root.iterdir()}
    assert kept == {"mine": "one", "mine.replaced-1": "first", "mine.replaced-2": "other"}


def test_an_import_that_fails_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    broken = shutil.copytree(ESM2_FOLDER, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(IntegrityError, match="damaged file"):
        import_encoder(registry, broken, "mine")
    assert not registry.root.exists() or list(registry.root.iterdir()) == []


def test_an_unknown_model_is_answered_with_those_there_are(registry: Registry) -> None:
    with pytest.raises(InputError, match="found no model; expected one of none so far"):
        registry.model("mine")
    import_encoder(registry, ESM2_FOLDER, "one")
    with pytest.raises(InputError, match="found no model; expected one of one"):
        registry.model("mine")


def test_a_model_that_changed_is_no_longer_its_card(registry: Registry) -> None:
    model = import_encoder(registry, ESM2_FOLDER, "mine")
    registry.check_content(model)
    (model.path / "config.json").write_text((model.path / "config.json").read_text() + " ")
    with pytest.raises(
        IntegrityError, match=r"model.safetensors of digest .*; expected .* as card.json says"
    ):
        registry.check_content(model)


@pytest.mark.slow
def test_a_classifier_is_bound_to_the_encoders_it_is_imported_with(
    registry: Registry, classifier_file: Path
) -> None:
    import_encoder(registry, ESM2_FOLDER, "esm2")
    import_encoder(registry, DNABERT_S_FOLDER, "dna")
    encoders = {"dnabert_s": registry.path("dna"), "esm2": registry.path("esm2")}
    model = import_classifier(registry, classifier_file, 500, encoders=encoders)
    classifier, card = load_classifier(model.path)
    assert (model.name, card.chunk_length, card.d_dna, card.d_protein) == ("classifier_500", 500, 96, 64)
    assert card.encoders == {kind: read_model_folder(path).digest for kind, path in encoders.items()}
    assert (card.encoder_names, card.precision) == ({}, "float32")
    assert_answers(classifier, classifier_file.parent)


@pytest.mark.slow
def test_a_classifier_without_encoders_has_the_widths_of_the_authors_or_is_refused(
    registry: Registry, classifier_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match="found a classifier of 160 numbers per row; expected 768 of dnabert_s"
    ):
        import_classifier(registry, classifier_file, 300)
    subprocess.run([sys.executable, str(PROGRAM), "3328", str(tmp_path)], check=True)
    card = import_classifier(registry, tmp_path / "model.pth", 300).card
    assert (card.d_dna, card.d_protein, card.encoders) == (768, 2560, {})
    assert card.encoder_names == {"dnabert_s": "DNABERT-S", "esm2": "esm2_t36_3B_UR50D"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "inputs", "known"),
    [(768, "dna", {"dnabert_s": "DNABERT-S"}), (2560, "protein", {"esm2": "esm2_t36_3B_UR50D"})],
)
def test_a_classifier_as_wide_as_one_encoder_takes_that_one_alone(
    registry: Registry, tmp_path: Path, width: int, inputs: str, known: dict[str, str]
) -> None:
    subprocess.run([sys.executable, str(PROGRAM), str(width), str(tmp_path)], check=True)
    model = import_classifier(registry, tmp_path / "model.pth", 300)
    assert (model.name, model.card.inputs, model.card.width) == (f"classifier_300_{inputs}", inputs, width)
    assert model.card.encoder_names == known
    assert_answers(load_classifier(model.path)[0], tmp_path)


@pytest.mark.slow
def test_of_two_encoders_as_wide_as_the_classifier_the_one_that_is_named_is_taken(
    registry: Registry, tmp_path: Path
) -> None:
    dna = shutil.copytree(DNABERT_S_FOLDER, tmp_path / "dna")
    change_json(dna / "config.json", hidden_size=2560, num_attention_heads=10)
    subprocess.run([sys.executable, str(PROGRAM), "2560", str(tmp_path)], check=True)
    card = import_classifier(registry, tmp_path / "model.pth", 300, encoders={"dnabert_s": dna}).card
    assert (card.inputs, list(card.encoders)) == ("dna", ["dnabert_s"])


def test_encoders_in_the_wrong_place_are_refused(registry: Registry, classifier_file: Path) -> None:
    with pytest.raises(InputError, match="found a model of kind esm2; expected dnabert_s"):
        import_classifier(registry, classifier_file, 300, encoders={"dnabert_s": ESM2_FOLDER})


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.name)
def test_the_size_of_a_published_model_is_that_of_its_tensors(model) -> None:
    shapes = published_shapes(model.config).values()
    parameters = sum(torch.Size(shape).numel() for shape in shapes)
    assert model.config.parameters == parameters
    assert weights_bytes(model.config, "float16") == 2 * parameters
    assert (
        model_of_shape(model.config)
        == model
        == published_model(model.name)
        == published_model(model.repository)
    )
