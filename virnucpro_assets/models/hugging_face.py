"""Encoders in Hugging Face folders: ESM-2 as transformers names it, and DNABERT-S.

A folder has `config.json` and the weights; that of DNABERT-S also `tokenizer.json`. All fields of the config that
affect the computation must be as in the published models. Python files beside the weights, which `trust_remote_code`
would run, are ignored. transformers has written ESM-2 with several names: the rotary frequencies per layer, once, or
once for the layer `*`, and the weights of norms as weight and bias or as gamma and beta. All are read.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.encoders import TOKENIZER_FILE
from virnucpro_assets.models.esm2 import FREQUENCIES
from virnucpro_assets.models.folders import CONFIG_FILE, require_file
from virnucpro_assets.models.tensor_files import (
    PublishedEncoder,
    one_of_all_layers,
    read_safetensors,
    read_torch_state,
)
from virnucpro_assets.models.tokenisers import TOKENS, DnaTokenizer
from virnucpro_assets.models.weights import State

VOCABULARY_FILE = "vocab.txt"
SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"
"""The names of transformers for weights in one file; the list of several files ends in .index.json."""

_NAMED_AT_MOST = 5

Config = TypeVar("Config", bound=BaseModel)

_ESM_PARTS = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "LayerNorm": "final_layer_norm",
}
_ESM_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_ESM_FREQUENCIES = re.compile(r"(encoder\.layer\.(\d+|\*)\.attention\.self\.)?rotary_embeddings\.inv_freq")
_NORM = re.compile(r"(?<=LayerNorm\.)(gamma|beta)$")
_ESM_IGNORED = ("pooler.", "contact_head.", "lm_head.", "embeddings.position_")
_BERT_IGNORED = ("pooler.", "cls.")


class _AnyConfig(BaseModel):
    """config.json of any model: its type."""

    model_type: str


class _EsmConfig(BaseModel):
    """config.json of a published ESM-2: the shape, and the fields that affect the computation."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["esm"]
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: Literal[33]
    mask_token_id: Literal[32] | None = None
    position_embedding_type: Literal["rotary"]
    token_dropout: Literal[True]
    emb_layer_norm_before: Literal[False] | None = None
    hidden_act: Literal["gelu"] = "gelu"
    layer_norm_eps: float = Field(ge=0.99e-5, le=1.01e-5)
    rope_theta: float = Field(default=10000.0, ge=10000.0, le=10000.0)
    is_folding_model: Literal[False] | None = None
    is_decoder: Literal[False] | None = None


class _BertConfig(DnabertSConfig):
    """config.json of DNABERT-S, which must have a model_type."""

    model_type: Literal["bert"]


def read_hugging_face_esm2(folder: Path) -> PublishedEncoder:
    """The ESM-2 in `folder`, as EsmModel or EsmForMaskedLM; IntegrityError if it is damaged or another model."""
    config = _read(folder / CONFIG_FILE, _EsmConfig, "an ESM-2 (model_type esm)")
    if config.intermediate_size != 4 * config.hidden_size:
        raise IntegrityError(
            folder / CONFIG_FILE,
            found=f"intermediate_size {config.intermediate_size}",
            expected=f"{4 * config.hidden_size}, four times the width",
            advice="Use a published model.",
        )
    _check_vocabulary(folder / VOCABULARY_FILE)
    tensors, files = read_tensors_of_folder(folder)
    tensors = {name.removeprefix("esm."): tensor for name, tensor in tensors.items()}
    frequencies = one_of_all_layers(
        folder, (tensor for name, tensor in tensors.items() if _ESM_FREQUENCIES.fullmatch(name))
    )
    state: State = {
        _esm_name(name): tensor
        for name, tensor in tensors.items()
        if not name.startswith(_ESM_IGNORED) and not _ESM_FREQUENCIES.fullmatch(name)
    }
    if frequencies is not None:
        state[FREQUENCIES] = frequencies
    shape = {name: getattr(config, name) for name in Esm2Config.model_fields if name != "model_type"}
    return PublishedEncoder(Esm2Config(**shape), state, (folder / CONFIG_FILE, *files))


def read_hugging_face_dnabert_s(folder: Path) -> PublishedEncoder:
    """The DNABERT-S in `folder`; IntegrityError if it is damaged or another model."""
    config = _read(folder / CONFIG_FILE, _BertConfig, "a DNABERT-S (model_type bert)")
    tokenizer = folder / TOKENIZER_FILE
    DnaTokenizer(tokenizer, vocabulary=config.vocab_size)
    tensors, files = read_tensors_of_folder(folder)
    tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    return PublishedEncoder(
        DnabertSConfig(**config.model_dump()),
        {name: tensor for name, tensor in tensors.items() if not name.startswith(_BERT_IGNORED)},
        (folder / CONFIG_FILE, tokenizer, *files),
        tokenizer_json=tokenizer.read_text(encoding="utf-8"),
    )


def model_type(folder: Path) -> str:
    """The `model_type` in config.json; IntegrityError if there is none."""
    return _read(folder / CONFIG_FILE, _AnyConfig, "a model").model_type


def _read(path: Path, kind: type[Config], meaning: str) -> Config:
    require_file(path)
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        found = f"{excerpt(repr(first['input']), 200)} at {excerpt(field, 80)}"
        raise IntegrityError(
            path,
            found=f"{found}, where {first['msg']!r}",
            expected=f"the config of {meaning}",
            advice="Use a published model.",
        ) from error


def _check_vocabulary(path: Path) -> None:
    """Raise IntegrityError if the folder lists other tokens than ours; the list is optional."""
    if path.exists() and (found := tuple(path.read_text(encoding="utf-8").split())) != TOKENS:
        raise IntegrityError(
            path,
            found=f"the tokens {excerpt(' '.join(found[:40]))}",
            expected=f"{' '.join(TOKENS)}, the alphabet of ESM-2",
            advice="Use a published model.",
        )


def _esm_name(name: str) -> str:
    """fair-esm's name of a tensor; an unknown name is returned unchanged, and refused later."""
    if name == "embeddings.word_embeddings.weight":
        return "embed_tokens.weight"
    if name.startswith("encoder.emb_layer_norm_after."):
        return name.removeprefix("encoder.")
    found = _ESM_LAYER.fullmatch(_NORM.sub(lambda part: {"gamma": "weight", "beta": "bias"}[part[0]], name))
    if found is None or found[2] not in _ESM_PARTS:
        return name
    return f"layers.{found[1]}.{_ESM_PARTS[found[2]]}.{found[3]}"


def read_tensors_of_folder(folder: Path) -> tuple[State, tuple[Path, ...]]:
    """All tensors of a Hugging Face folder, and the files that were read.

    If there are several forms, safetensors is preferred to torch's, and one file to shards. Raises IntegrityError if
    there is none, a shard is missing, or shards and their list disagree.
    """
    for name, read in ((SAFETENSORS, read_safetensors), (TORCH, read_torch_state)):
        if (path := folder / name).exists():
            return read(path), (path,)
        if (index := folder / f"{name}.index.json").exists():
            return _read_shards(index, read)
    raise IntegrityError(
        folder,
        found=f"neither {SAFETENSORS} nor {TORCH}, in one file or in shards",
        expected="one of them",
        advice="Check the folder or fetch the model again.",
    )


def _read_shards(index: Path, read: Any) -> tuple[State, tuple[Path, ...]]:
    try:
        files = json.loads(index.read_bytes())["weight_map"]
        names = sorted(set(files.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            index,
            found="no list of tensors and their files",
            expected="weight_map",
            advice="Fetch the model again.",
        ) from error
    for name in names:
        if not isinstance(name, str) or PurePosixPath(name).name != name:
            raise IntegrityError(
                index,
                found=f"the file {excerpt(repr(name))}",
                expected="the name of a file beside it",
                advice="Do not trust this folder.",
            )
    state: State = {}
    for name in names:
        path = index.with_name(name)
        found = read(path)
        listed = {tensor for tensor, file in files.items() if file == name}
        if lost := sorted(listed - found.keys()):
            raise IntegrityError(
                path,
                found=f"no {excerpt(', '.join(lost[:_NAMED_AT_MOST]))}",
                expected=f"what {index.name} lists",
                advice="Fetch the model again.",
            )
        state |= {tensor: found[tensor] for tensor in sorted(listed)}
    return state, (index, *(index.with_name(name) for name in names))
