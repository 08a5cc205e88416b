"""Fit: a classifier of other encoders or another chunk length is refused before an embedding starts."""

import json
import shutil
from pathlib import Path

import pytest

from virnucpro_assets.calling.fit import check_fit
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets_tests.models.published_files import change_json
from virnucpro_assets_tests.passed_checks import pass_checks_of_index


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return shutil.copytree(MODELS_FOLDER, tmp_path / "models")


def indexed(tmp_path: Path, models: Path, said: list[str], **changed: object) -> DropWork:
    """A drop of one read, indexed, under settings with these models."""
    (tmp_path / "one.fa").write_text(">one\nATGGCTGCAGGTCTGAAAGTTCGTGAC\n")
    settings = Settings(
        data_root=tmp_path / "data", classifiers=models, ranks=1, devices="cpu:1", models=models, **changed
    )
    register_reads("d", [ReadFile(tmp_path / "one.fa")], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, said.append)
    index_drop(work)
    pass_checks_of_index(work)
    return work


def name_encoder(folder: Path, model: str) -> None:
    """Give an encoder the card of a published model."""
    read = read_model_folder(folder)
    card = {
        "kind": read.kind,
        "model": model,
        "is_published": True,
        "width": read.width,
        "parameters": 1,
        "stored_as": "float32",
        "digest": read.digest,
        "source": "a test",
        "files": {},
        "licence": "MIT",
        "created_with": "0",
    }
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"d_dna": 768}, "trained for DNA width 768; expected DNA width 96"),
        ({"d_protein": 2560}, "trained for protein width 2560; expected protein width 64"),
        ({"chunk_length": 500}, "trained for chunk length 500; expected chunk length 300"),
        (
            {"encoders": {"esm2": "0" * 64}},
            f"trained for digest of esm2 {'0' * 64}; expected digest of esm2 ",
        ),
        (
            {"encoders": {}, "encoder_names": {"esm2": "esm2_t36_3B_UR50D"}},
            "trained for esm2 model esm2_t36_3B_UR50D; expected esm2 model esm2_t6_8M_UR50D",
        ),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_before_a_device_is_touched(
    tmp_path: Path, models: Path, fields: dict[str, object], complaint: str
) -> None:
    work = indexed(tmp_path, models, [], esm2=models / "esm2")
    name_encoder(models / "esm2", "esm2_t6_8M_UR50D")
    change_json(models / "classifier_300" / "card.json", **fields)
    with open_pool(work.settings) as pool, pool.lease() as lease:
        for kind in ("dnabert_s", "esm2"):
            with pytest.raises(IntegrityError, match=f"found a classifier {complaint}"):
                list(embed_drop(work, {kind: [0]}, lease))
    assert not list(work.folder.path.glob("*/rank-*"))


@pytest.mark.parametrize(
    ("inputs", "other"), [("dna", {"d_protein": 2560}), ("protein", {"d_dna": 768, "chunk_length": 300})]
)
def test_a_classifier_is_compared_with_the_encoders_that_it_takes_alone(
    tmp_path: Path, models: Path, inputs: str, other: dict[str, object]
) -> None:
    said: list[str] = []
    work = indexed(tmp_path, models, said)
    card = models / "classifier_300" / "card.json"
    change_json(card, inputs=inputs, encoders={}, **other)
    check_fit(work)
    assert [line for line in said if "warning" in line] == []
    taken, left_out = ("dnabert_s", "esm2") if inputs == "dna" else ("esm2", "dnabert_s")
    change_json(card, encoders={left_out: "0" * 64})
    check_fit(work)
    change_json(card, encoders={taken: "0" * 64})
    with pytest.raises(IntegrityError, match=f"trained for digest of {taken} 0+; expected"):
        check_fit(work)


def test_a_classifier_that_fits_by_digest_is_taken_without_a_word(tmp_path: Path, models: Path) -> None:
    said: list[str] = []
    check_fit(indexed(tmp_path, models, said))
    assert [line for line in said if "warning" in line] == []


def test_what_only_names_speak_for_is_said_to_be_unverified(tmp_path: Path, models: Path) -> None:
    said: list[str] = []
    work = indexed(tmp_path, models, said)
    change_json(
        models / "classifier_300" / "card.json", encoders={}, encoder_names={"dnabert_s": "DNABERT-S"}
    )
    check_fit(work)
    (line,) = (line for line in said if line.startswith("warning"))
    assert "classifier_300: it was trained with DNABERT-S; whether" in line
    assert "holds the same weights is not verified" in line


def test_another_precision_than_in_training_is_said(tmp_path: Path, models: Path) -> None:
    said: list[str] = []
    work = indexed(tmp_path, models, said, precision="bfloat16")
    change_json(models / "classifier_300" / "card.json", precision="float32")
    check_fit(work)
    (line,) = (line for line in said if line.startswith("warning"))
    assert "trained on embeddings in float32; they are computed in bfloat16 here" in line


def test_without_a_classifier_embeddings_are_computed_for_none(tmp_path: Path, models: Path) -> None:
    said: list[str] = []
    work = indexed(tmp_path, models, said)
    shutil.rmtree(models / "classifier_300")
    check_fit(work)
    assert any("classifier_300 holds no classifier" in line for line in said)


def test_an_encoder_is_chosen_by_its_name_in_the_registry(tmp_path: Path, models: Path) -> None:
    shutil.copytree(models / "esm2", models / "mine")
    by_name = Settings(models=models, esm2=Path("mine"), dnabert_s=Path("elsewhere/dnabert_s"))
    assert by_name.encoder_folder("esm2") == models / "mine"
    assert by_name.encoder_folder("dnabert_s") == Path("elsewhere/dnabert_s")
    assert Settings(models=models, esm2=Path("unknown")).encoder_folder("esm2") == Path("unknown")
