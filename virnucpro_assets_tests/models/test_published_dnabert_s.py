"""DNABERT-S from its Hugging Face folder, in each of its forms, against the golden hidden states."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models.encoder_imports import read_encoder
from virnucpro_assets.models.loading import load_encoder, save_encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Tokens
from virnucpro_assets_tests.models.published_files import change_json

GOLDEN = Path(__file__).parent.parent / "golden" / "dnabert_s"

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def hub(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """The golden model as a folder with a tokeniser, as the hub has it."""
    folder = tmp_path / "hub"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def as_torch_file(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Put `pytorch_model.bin` in the place of the folder's safetensors."""
    state = change(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")


def with_other_heads(state: Tensors) -> Tensors:
    named = {f"bert.{name}": tensor for name, tensor in state.items() if not name.startswith("pooler.")}
    return named | {"cls.predictions.bias": torch.zeros(4), "bert.pooler.dense.bias": torch.zeros(4)}


def assert_golden(hub: Path, folder: Path) -> None:
    published = read_encoder(hub)
    save_encoder(folder, published.config, published.state, tokenizer_json=published.tokenizer_json)
    ids = json.loads((GOLDEN / "inputs.json").read_text())["input_ids"]
    tokens = Tokens.from_lengths(np.concatenate(ids).astype(np.int32), np.array([len(some) for some in ids]))
    expected = load_file(GOLDEN / "expected.safetensors")
    pack = TokenPack.from_tokens(tokens)
    with torch.inference_mode():
        hidden = load_encoder(folder).model(pack).split(pack.lengths.tolist())
    for number, ours in enumerate(hidden):
        assert float((ours - expected[f"hidden_{number}"]).abs().max()) <= 1e-5


def test_a_folder_with_safetensors_gives_the_golden_states(hub: Path, tmp_path: Path) -> None:
    assert_golden(hub, tmp_path / "model")
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (hub / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("change", [dict, with_other_heads])
def test_a_folder_with_a_file_of_torch_gives_the_golden_states(
    hub: Path, tmp_path: Path, change: Callable[[Tensors], Tensors]
) -> None:
    as_torch_file(hub, change)
    assert_golden(hub, tmp_path / "model")


def test_code_in_the_folder_is_not_looked_at(hub: Path, tmp_path: Path) -> None:
    change_json(hub / "config.json", auto_map={"AutoModel": "bert_layers.BertModel"})
    (hub / "bert_layers.py").write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w').close()")
    assert_golden(hub, tmp_path / "model")
    assert not (tmp_path / "it_ran").exists()


def test_a_bert_with_positions_is_refused(hub: Path, tmp_path: Path) -> None:
    state = load_file(hub / "model.safetensors")
    save_file(state | {"embeddings.position_embeddings.weight": torch.zeros(8, 4)}, hub / "model.safetensors")
    published = read_encoder(hub)
    with pytest.raises(IntegrityError, match=r"unknown tensors embeddings\.position_embeddings\.weight"):
        save_encoder(tmp_path / "model", published.config, published.state)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"hidden_act": "relu"}, "found 'relu' at hidden_act"),
        ({"vocab_size": 10}, "expected ids below 10"),
        ({"model_type": "llama"}, "found 'llama' at model_type"),
        ({"hidden_size": 7}, "cannot be shared by"),
    ],
)
def test_another_config_is_refused(hub: Path, fields: dict[str, object], complaint: str) -> None:
    change_json(hub / "config.json", **fields)
    with pytest.raises(IntegrityError, match=complaint):
        read_encoder(hub)


def test_a_missing_tokeniser_is_named(hub: Path) -> None:
    (hub / "tokenizer.json").unlink()
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: found no file"):
        read_encoder(hub)


def test_a_folder_without_weights_is_named(hub: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"found neither model\.safetensors nor pytorch_model\.bin"):
        read_encoder(hub)
