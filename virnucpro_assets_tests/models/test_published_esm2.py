"""ESM-2 from published formats against the modules of fair-esm and transformers."""

import json
from argparse import Namespace
from pathlib import Path

import esm.pretrained
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.models.encoder_imports import read_encoder
from virnucpro_assets.models.loading import load_encoder, save_encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.tokenisers import tokenise_proteins
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets_tests.models.published_files import (
    LAYERS,
    change_json,
    fair_esm_module,
    publish,
    save_fair_esm,
    save_hugging_face_esm2,
    save_regression,
)

AMINO_ACIDS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)


def tokens() -> Tokens:
    generator = np.random.default_rng(4)
    return tokenise_proteins(
        Ragged.from_strings(generator.choice(AMINO_ACIDS, n).tobytes() for n in (1, 7, 166, 166, 300))
    )


def ours(path: Path, folder: Path) -> list[torch.Tensor]:
    """The representations of every sequence by the model in `path`, converted and loaded again."""
    published = read_encoder(path)
    save_encoder(folder, published.config, published.state)
    pack = TokenPack.from_tokens(tokens())
    with torch.inference_mode():
        return list(load_encoder(folder).model(pack).split(pack.lengths.tolist()))


@torch.no_grad()
def fair_esm(model: torch.nn.Module) -> list[torch.Tensor]:
    found = []
    for row in range(len(tokens())):
        ids = torch.from_numpy(tokens().take(np.array([row])).data.astype(np.int64))[None]
        found.append(model(ids, repr_layers=[LAYERS])["representations"][LAYERS][0])
    return found


@torch.no_grad()
def transformers(model: torch.nn.Module) -> list[torch.Tensor]:
    found = []
    for row in range(len(tokens())):
        ids = torch.from_numpy(tokens().take(np.array([row])).data.astype(np.int64))[None]
        found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0])
    return found


def assert_equal(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True)) <= 1e-5


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("contact_head", [False, True])
def test_a_file_of_fair_esm_is_what_its_own_loader_makes_of_it(
    tmp_path: Path, half: bool, contact_head: bool
) -> None:
    path, model = tmp_path / "esm2_t3_tiny.pt", fair_esm_module(half=half)
    save_fair_esm(path, model, contact_head=contact_head)
    save_regression(path, model)
    with torch.serialization.safe_globals([Namespace]):
        theirs, _ = esm.pretrained.load_model_and_alphabet_local(path)
    assert_equal(ours(path, tmp_path / "model"), fair_esm(theirs.eval()))


@pytest.mark.parametrize("prefix", ["encoder.sentence_encoder.", "encoder.", "sentence_encoder.", ""])
def test_every_prefix_of_training_is_taken_off(tmp_path: Path, prefix: str) -> None:
    path, model = tmp_path / "esm2.pt", fair_esm_module()
    save_fair_esm(path, model, prefix=prefix)
    assert_equal(ours(path, tmp_path / "model"), fair_esm(model))


def test_rounded_rotary_frequencies_are_kept_and_matter(tmp_path: Path) -> None:
    path, model = tmp_path / "esm2.pt", fair_esm_module(half=True)
    save_fair_esm(path, model)
    published = read_encoder(path)
    kept = published.state["rot_emb.inv_freq"]
    assert kept.dtype == torch.float32
    assert torch.equal(kept, model.layers[0].self_attn.rot_emb.inv_freq.float())
    without = {name: tensor for name, tensor in published.state.items() if name != "rot_emb.inv_freq"}
    save_encoder(tmp_path / "computed", published.config, without)
    pack = TokenPack.from_tokens(tokens())
    with torch.inference_mode():
        computed = load_encoder(tmp_path / "computed").model(pack)
    kept_hidden = torch.cat(ours(path, tmp_path / "model"))
    assert float((computed - kept_hidden).abs().max()) > 1e-4


def test_frequencies_stay_exact_in_every_precision(tmp_path: Path) -> None:
    path, model = tmp_path / "esm2.pt", fair_esm_module()
    save_fair_esm(path, model)
    published = read_encoder(path)
    save_encoder(tmp_path / "model", published.config, published.state)
    loaded = load_encoder(tmp_path / "model", precision="bfloat16").model
    assert torch.equal(loaded.get_buffer("frequencies"), model.layers[0].self_attn.rot_emb.inv_freq)
    assert loaded.get_parameter("last_norm.weight").dtype == torch.bfloat16


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("masked_lm", [False, True])
def test_a_hugging_face_folder_is_what_transformers_makes_of_it(
    tmp_path: Path, half: bool, masked_lm: bool
) -> None:
    folder = tmp_path / "hub"
    theirs = save_hugging_face_esm2(folder, masked_lm=masked_lm, half=half)
    assert_equal(ours(folder, tmp_path / "model"), transformers(theirs))


def test_sharded_safetensors_are_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    theirs = save_hugging_face_esm2(folder, masked_lm=True, shard_size="30KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert_equal(ours(folder, tmp_path / "model"), transformers(theirs))


def test_sharded_files_of_torch_are_one_model(tmp_path: Path) -> None:
    """As ESM-2 3B and 15B are published."""
    folder = tmp_path / "hub"
    theirs = save_hugging_face_esm2(folder)
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, own in shards.items():
        torch.save({name: state[name] for name in own}, folder / file)
    places = {name: file for file, own in shards.items() for name in own}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()
    assert_equal(ours(folder, tmp_path / "model"), transformers(theirs))


@pytest.mark.parametrize("masked_lm", [False, True])
def test_the_names_of_the_published_folders_are_read(tmp_path: Path, masked_lm: bool) -> None:
    folder = tmp_path / "hub"
    theirs = save_hugging_face_esm2(folder, masked_lm=masked_lm)
    publish(folder)
    assert_equal(ours(folder, tmp_path / "model"), transformers(theirs))


def test_frequencies_that_differ_by_layer_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder)
    state = publish(folder)
    state[f"encoder.layer.{LAYERS - 1}.attention.self.rotary_embeddings.inv_freq"] += 1e-3
    save_file(state, folder / "model.safetensors")
    with pytest.raises(IntegrityError, match="rotary frequencies that differ by layer; expected the same 3"):
        read_encoder(folder)


def test_a_model_folder_of_ours_is_read_again(tmp_path: Path) -> None:
    path, model = tmp_path / "esm2.pt", fair_esm_module()
    save_fair_esm(path, model)
    ours(path, tmp_path / "first")
    assert_equal(ours(tmp_path / "first", tmp_path / "second"), fair_esm(model))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"position_embedding_type": "absolute"}, "found 'absolute' at position_embedding_type"),
        ({"token_dropout": False}, "found False at token_dropout"),
        ({"emb_layer_norm_before": True}, "found True at emb_layer_norm_before"),
        ({"layer_norm_eps": 1e-12}, "found 1e-12 at layer_norm_eps"),
        ({"vocab_size": 64}, "found 64 at vocab_size"),
        ({"is_folding_model": True}, "found True at is_folding_model"),
        ({"intermediate_size": 96}, "found intermediate_size 96; expected 128"),
    ],
)
def test_a_config_that_changes_the_computation_is_refused(
    tmp_path: Path, fields: dict[str, object], complaint: str
) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder)
    change_json(folder / "config.json", **fields)
    with pytest.raises(IntegrityError, match=complaint):
        read_encoder(folder)


def test_another_alphabet_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder)
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text().replace("L\nA\n", "A\nL\n"))
    with pytest.raises(IntegrityError, match=r"vocab\.txt: found the tokens <cls> <pad> <eos> <unk> A L G"):
        read_encoder(folder)


def test_a_tensor_that_is_not_finite_or_quantised_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder)
    path, name = folder / "model.safetensors", "encoder.layer.0.output.dense.bias"
    state = load_file(path)
    save_file(state | {name: torch.full_like(state[name], torch.nan)}, path)
    with pytest.raises(IntegrityError, match=r"not finite in layers\.0\.fc2\.bias"):
        read_encoder(folder)
    save_file(state | {name: state[name].to(torch.int8)}, path)
    with pytest.raises(IntegrityError, match=r"found layers\.0\.fc2\.bias of torch\.int8"):
        read_encoder(folder)


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder, shard_size="30KB")
    lost = sorted(folder.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(IntegrityError, match=f"{lost.name}: found no file"):
        read_encoder(folder)


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_hugging_face_esm2(folder, shard_size="30KB")
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": dict.fromkeys(places, "../other/model.safetensors")}))
    with pytest.raises(IntegrityError, match=r"found the file '\.\./other/model\.safetensors'"):
        read_encoder(folder)


def test_a_path_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no file that ends in \.pt and no folder"):
        read_encoder(tmp_path)


@pytest.mark.parametrize("change", ["token_dropout", "encoder_layers", "model"])
def test_a_file_that_is_no_esm2_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "esm2.pt"
    save_fair_esm(path, fair_esm_module())
    with torch.serialization.safe_globals([Namespace]):
        content = torch.load(path, weights_only=True)
    if change == "model":
        del content["model"]
    else:
        setattr(content["cfg"]["model"], change, None)
    torch.save(content, path)
    with pytest.raises(
        IntegrityError, match=r"found (no cfg and model|token_dropout None|no shape of an ESM-2)"
    ):
        read_encoder(path)
