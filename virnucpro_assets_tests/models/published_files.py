"""Small models in the formats in which the large ones are published, made by the libraries themselves."""

import json
from argparse import Namespace
from pathlib import Path

import torch
from esm.model.esm2 import ESM2
from safetensors.torch import load_file, save_file
from transformers import EsmConfig, EsmForMaskedLM, EsmModel

from virnucpro_assets.models.cards import SEAL
from virnucpro_assets.models.tokenisers import TOKENS

LAYERS, WIDTH, HEADS = 3, 32, 4


def fair_esm_module(*, half: bool = False, seed: int = 1) -> ESM2:
    """fair-esm's module with weights that matter; as half its rotary frequencies are rounded with the rest."""
    torch.manual_seed(seed)
    model = ESM2(LAYERS, WIDTH, HEADS).eval()
    _fill(model)
    return model.half() if half else model


def save_fair_esm(
    path: Path, model: ESM2, *, prefix: str = "encoder.sentence_encoder.", contact_head: bool = False
) -> None:
    """Write a file as fair-esm publishes it: prefixes from training, no contact head unless asked for."""
    heads = ("contact_head.",)
    state = {
        f"{'encoder.' if prefix and name.startswith('lm_head.') else prefix}{name}": tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(heads)
    }
    if contact_head:
        state |= {name: tensor for name, tensor in model.state_dict().items() if name.startswith(heads)}
    shape = Namespace(
        encoder_layers=LAYERS,
        encoder_embed_dim=WIDTH,
        encoder_attention_heads=HEADS,
        token_dropout=True,
        arch="esm2",
        other=[1, None, "text"],
    )
    torch.save({"cfg": {"model": shape, "task": None}, "model": state}, path)


def save_regression(path: Path, model: ESM2) -> None:
    """Write the contact head as fair-esm publishes it, in a file beside the model's."""
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("contact_head.")}
    torch.save({"model": state}, path.with_name(f"{path.stem}-contact-regression.pt"))


def esm_config() -> EsmConfig:
    """A config with what those of the published ESM-2 say, but small."""
    return EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=1026,
        layer_norm_eps=1e-5,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def save_hugging_face_esm2(
    folder: Path, *, masked_lm: bool = False, shard_size: str = "1GB", half: bool = False, seed: int = 2
) -> EsmModel:
    """Write a folder with transformers' own `save_pretrained`, and give the encoder that is in it.

    Its names are those that transformers gives now; the published folders have older ones.
    """
    torch.manual_seed(seed)
    model = (EsmForMaskedLM if masked_lm else EsmModel)(esm_config()).eval()
    _fill(model)
    encoder: EsmModel = model.esm if masked_lm else model
    # As training in float16 left them in the published files.
    encoder.rotary_embeddings.inv_freq.copy_(encoder.rotary_embeddings.inv_freq.half())
    if half:
        model.half()
    model.save_pretrained(folder, max_shard_size=shard_size)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    return encoder.float()


def _fill(model: torch.nn.Module) -> None:
    """Random weights with queries and keys so large that it shows where a token looks."""
    for name, parameter in model.named_parameters():
        std = WIDTH**-0.5 if parameter.dim() > 1 else 0.3
        looks = any(part in name for part in ("q_proj", "k_proj", "query", "key"))
        torch.nn.init.normal_(parameter, std=2.5 * std if looks else std)


def publish(folder: Path) -> dict[str, torch.Tensor]:
    """Give a folder's tensors the names of the published folders: what EsmForMaskedLM once wrote."""
    path = folder / "model.safetensors"
    state = load_file(path)
    (name,) = [name for name in state if name.endswith("inv_freq")]
    frequencies = state.pop(name)
    prefix = "esm." if name.startswith("esm.") else ""
    state = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        ): tensor
        for name, tensor in state.items()
    }
    for number in range(LAYERS):
        layer = f"{prefix}encoder.layer.{number}.attention.self.rotary_embeddings.inv_freq"
        state[layer] = frequencies.clone()
    state[f"{prefix}embeddings.position_ids"] = torch.arange(1026)[None]
    state[f"{prefix}embeddings.position_embeddings.weight"] = torch.zeros(1026, WIDTH)
    save_file(state, path)
    return state


def change_json(path: Path, **fields: object) -> None:
    """Change fields of a JSON file; a card loses its seal, as if a person had changed it on purpose."""
    content = json.loads(path.read_text()) | fields
    content.pop(SEAL, None)
    path.write_text(json.dumps(content))
