"""Encoders against their references: the references are right, and what is wrong does not pass."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models import references
from virnucpro_assets.models.configs import DnabertSConfig
from virnucpro_assets.models.encoder_imports import read_encoder
from virnucpro_assets.models.loading import save_encoder
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.verification import verify_encoder
from virnucpro_assets_tests.models.published_files import fair_esm_module, save_fair_esm

GOLDEN = Path(__file__).parent.parent / "golden" / "dnabert_s"


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.2), ("float16", 0.02)])
def test_a_sound_encoder_passes(
    esm2_folder: Path, dnabert_s_folder: Path, precision: str, bound: float
) -> None:
    for folder, reference in ((esm2_folder, "fair-esm"), (dnabert_s_folder, "plain float32")):
        found = verify_encoder(folder, precision=precision, device="cpu")
        assert found.passed(0.999)
        assert found.reference == reference
        assert found.largest_difference < bound < found.largest_number


def test_the_plain_dnabert_s_gives_the_golden_states() -> None:
    config = DnabertSConfig.model_validate_json((GOLDEN / "config.json").read_bytes())
    state, expected = load_file(GOLDEN / "model.safetensors"), load_file(GOLDEN / "expected.safetensors")
    ids = json.loads((GOLDEN / "inputs.json").read_text())["input_ids"]
    for number, some in enumerate(ids):
        hidden = references._plain_dnabert_s(state, config, torch.tensor(some))
        assert float((hidden - expected[f"hidden_{number}"]).abs().max()) <= 1e-5


def test_rounded_frequencies_are_those_of_the_reference_as_well(tmp_path: Path) -> None:
    save_fair_esm(tmp_path / "esm2.pt", fair_esm_module(half=True))
    published = read_encoder(tmp_path / "esm2.pt")
    save_encoder(tmp_path / "model", published.config, published.state)
    assert verify_encoder(tmp_path / "model", precision="float32", device="cpu").largest_difference < 1e-5


def test_an_encoder_that_computes_something_else_fails(
    esm2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = PackedEncoder.embed
    monkeypatch.setattr(PackedEncoder, "embed", lambda self, pack: right(self, pack).roll(1, dims=1))
    for precision in ("float32", "bfloat16"):
        assert not verify_encoder(esm2_folder, precision=precision, device="cpu").passed(0.999)


def test_stored_figures_are_taken_as_long_as_the_model_is_the_same(
    esm2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = verify_encoder(esm2_folder, precision="float32", device="cpu", keep=True)
    (stored,) = esm2_folder.glob("reference-*.safetensors")
    asked: list[Path] = []
    monkeypatch.setattr("virnucpro_assets.models.verification.reference_embeddings", asked.append)
    second = verify_encoder(esm2_folder, precision="float32", device="cpu")
    assert (second.reference, asked) == ("stored figures", [])
    assert second.largest_difference == first.largest_difference
    rows = load_file(stored)["embeddings"]
    save_file({"embeddings": rows + 1}, stored)
    with pytest.raises(
        IntegrityError, match=r"reference-.*: found figures of digest .*; expected those of its name"
    ):
        verify_encoder(esm2_folder, precision="float32", device="cpu")
    save_file({"embeddings": rows[:, :5].contiguous()}, stored)
    with pytest.raises(IntegrityError, match=r"found figures of shape \[5, 5\]; expected \[5, 32\]"):
        verify_encoder(esm2_folder, precision="float32", device="cpu")
    monkeypatch.undo()
    state = load_file(esm2_folder / "model.safetensors")
    state["layers.0.fc1.bias"][0] += 1
    save_file(state, esm2_folder / "model.safetensors")
    assert verify_encoder(esm2_folder, precision="float32", device="cpu").reference == "fair-esm"


def test_fixed_sequences_have_the_lengths_that_occur(tokenizer: Tokenizer) -> None:
    assert references.PROTEINS.lengths.tolist() == [1, 25, 76, 100, 152]
    assert references.NUCLEOTIDES.lengths.tolist() == [3, 83, 166, 300, 500]
    assert np.unique(references.NUCLEOTIDES.data).tobytes() == b"ACGT"
