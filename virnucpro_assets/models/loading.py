"""Loading an encoder from a model folder, and saving one.

The config determines the encoder and the shapes; every name and shape in the weights file is checked against it; then
the tensors are read one by one in the precision of computing, so that a large model is never in memory twice; and
kernels are compiled.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.models import dnabert_s, esm2
from virnucpro_assets.models.configs import EncoderConfig
from virnucpro_assets.models.encoders import ENCODERS, TOKENIZER_FILE
from virnucpro_assets.models.folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelFolder,
    read_config,
    read_model_folder,
)
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.weights import Shapes, check_shapes, write_weights
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Tokeniser = Callable[[Ragged], Tokens]


class _Implementation(Protocol):
    """What the module of an encoder provides; `config` is its own class of config."""

    def load(
        self,
        config: Any,
        weights: Path,
        dtype: torch.dtype,
        device: torch.device,
        attention: Attention,
        /,
        *,
        fused: bool,
    ) -> nn.Module:
        """The packed model with the weights of a file, ready to infer; IntegrityError as `read_weights`."""

    def tokeniser(self, config: Any, folder: Path, /) -> Tokeniser:
        """Its tokeniser; IntegrityError if a file of the model folder is missing or damaged."""

    def published_shapes(self, config: Any, /) -> Shapes:
        """Name and shape of each tensor that its weights file must have."""

    def optional_shapes(self, config: Any, /) -> Shapes:
        """Name and shape of each tensor that the file may have beside them."""


_IMPLEMENTATIONS: dict[EncoderKind, _Implementation] = {"dnabert_s": dnabert_s, "esm2": esm2}

_WARM_UP_SEQUENCES, _WARM_UP_LENGTH = 128, 64

TOKENS_IN_CACHE = 1024
"""A CPU computes a pack in pieces of about so many tokens: the output of an operator is then still in the cache when
the next one reads it."""


def load_encoder(
    folder: Path,
    *,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
    attention: Attention = "dense-runs",
    fused: bool = False,
) -> PackedEncoder:
    """Load the encoder in `folder` onto `device`, weights and computing in `precision`.

    `attention` is the kernel to use; "plain" also takes one sequence at a time. With `fused` the
    rest of each layer is compiled. Raises IntegrityError when a file of the folder is missing,
    damaged or does not fit the others.
    """
    config = read_config(folder)
    dtype, device = DTYPES[precision], torch.device(device)
    model = _IMPLEMENTATIONS[config.kind].load(
        config, folder / WEIGHTS_FILE, dtype, device, attention, fused=fused
    )
    if fused:
        warm_up(model, device)
    return PackedEncoder(
        kind=config.kind,
        width=config.hidden_size,
        precision=precision,
        device=device,
        model=model,
        tokeniser=load_tokeniser(folder),
        excluded_special_tokens=ENCODERS[config.kind].excluded_special_tokens,
        piece_tokens=_piece_tokens(device, attention),
    )


def load_tokeniser(folder: Path) -> Tokeniser:
    """The tokeniser of the encoder in `folder`, without its weights."""
    config = read_config(folder)
    return _IMPLEMENTATIONS[config.kind].tokeniser(config, folder)


def warm_up(model: torch.nn.Module, device: torch.device) -> None:
    """Send one small pack through `model`, a packed encoder, so that loading it compiles its kernels.

    Triton compiles a kernel when it is first called, once for each width and dtype, and keeps it in a folder that later
    processes read. The configurations are fixed (`gpu_kernels`): the results do not depend on which pack comes first.
    """
    lengths = np.full(_WARM_UP_SEQUENCES, _WARM_UP_LENGTH, np.int64)
    tokens = torch.arange(_WARM_UP_SEQUENCES * _WARM_UP_LENGTH, device=device) % 4
    with torch.inference_mode():
        model(TokenPack(tokens, lengths))


def _piece_tokens(device: torch.device, attention: Attention) -> int | None:
    if attention == "plain":
        return 1
    return TOKENS_IN_CACHE if device.type == "cpu" else None


def published_shapes(config: EncoderConfig) -> Shapes:
    """Name and shape of each tensor in the weights file of an encoder of this config."""
    return _IMPLEMENTATIONS[config.kind].published_shapes(config)


def save_encoder(
    folder: Path,
    config: EncoderConfig,
    state: Mapping[str, torch.Tensor],
    *,
    tokenizer_json: str | None = None,
) -> ModelFolder:
    """Write a model folder from tensors named as published; a DNA model needs `tokenizer_json`.

    Raises IntegrityError when the tensors do not fit the config, before anything is written.
    """
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    may_have = _IMPLEMENTATIONS[config.kind].optional_shapes(config)
    optional = {name: shape for name, shape in may_have.items() if name in found}
    check_shapes(folder / WEIGHTS_FILE, found, {**published_shapes(config), **optional})
    write_weights(folder / WEIGHTS_FILE, state)
    if tokenizer_json is not None:
        write_text(folder / TOKENIZER_FILE, tokenizer_json)
    write_text(folder / CONFIG_FILE, config.model_dump_json(indent=1) + "\n")
    return read_model_folder(folder)


def random_weights(config: EncoderConfig, *, seed: int) -> dict[str, torch.Tensor]:
    """Random weights with the right names, shapes and scale, for tests and benchmarks.

    Matrices are normal with deviation 1 / sqrt(columns), norms near one, biases near zero, so
    activations keep the order of one through any number of layers. The same seed gives the same.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 2:
            state[name] = noise if "embed" in name else noise / shape[1] ** 0.5
        else:
            state[name] = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return state
