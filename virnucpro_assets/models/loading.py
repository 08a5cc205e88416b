"""From a model folder to an encoder that runs, and back.

The order of things: the config says which encoder and which shapes; every name and shape in the
weights file is checked against it; then the tensors are read one by one in the precision of
computing, so that a large model is never held twice; and what is to be compiled is compiled.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.models import dnabert_s, esm2
from virnucpro_assets.models.alphabet import tokenise_proteins
from virnucpro_assets.models.compiling import warm_up
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.dna_tokenizer import DnaTokenizer
from virnucpro_assets.models.encoder import PackedEncoder
from virnucpro_assets.models.folders import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    ModelFolder,
    read_config,
    read_model_folder,
)
from virnucpro_assets.models.tokens import Tokens
from virnucpro_assets.models.weights import check_shapes, fill_weights, read_weights, write_weights
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Tokeniser = Callable[[Ragged], Tokens]

TRIMMED: dict[EncoderKind, int] = {"dnabert_s": 0, "esm2": 1}
"""How many tokens at either end of a sequence its mean leaves out."""


TOKENS_IN_CACHE = 1024
"""A CPU computes a pack in pieces of about so many tokens: what one operator writes is then still in
the cache when the next one reads it."""


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
    weights = folder / WEIGHTS_FILE
    model: nn.Module
    if isinstance(config, Esm2Config):
        empty = esm2.Esm2.empty(config, dtype, device, attention, fused=fused)
        # Each projection goes where it belongs: put together later, the three of a layer would be there twice.
        fill_weights(weights, empty.places(), optional=esm2.optional_shapes(config), ignored=esm2.is_ignored)
        model = empty.ready()
    else:
        shapes = dnabert_s.published_shapes(config)
        state = read_weights(weights, shapes, ignored=dnabert_s.is_ignored, dtype=dtype, device=device)
        model = dnabert_s.DnabertS.from_published(config, state, attention, fused=fused)
    if fused:
        warm_up(model, device)
    return PackedEncoder(
        kind=config.kind,
        width=config.hidden_size,
        precision=precision,
        device=device,
        model=model,
        tokeniser=load_tokeniser(folder),
        trimmed=TRIMMED[config.kind],
        piece_tokens=_piece_tokens(device, attention),
    )


def load_tokeniser(folder: Path) -> Tokeniser:
    """The tokeniser of the encoder in `folder`, without its weights."""
    config = read_config(folder)
    if isinstance(config, Esm2Config):
        return tokenise_proteins
    return DnaTokenizer(folder / TOKENIZER_FILE, vocabulary=config.vocab_size)


def _piece_tokens(device: torch.device, attention: Attention) -> int | None:
    if attention == "plain":
        return 1
    return TOKENS_IN_CACHE if device.type == "cpu" else None


def published_shapes(config: Esm2Config | DnabertSConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor in the weights file of an encoder of this config."""
    return (
        esm2.published_shapes(config)
        if isinstance(config, Esm2Config)
        else dnabert_s.published_shapes(config)
    )


def optional_shapes(config: Esm2Config | DnabertSConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor that such a file may have beside them."""
    return esm2.optional_shapes(config) if isinstance(config, Esm2Config) else {}


def save_encoder(
    folder: Path,
    config: Esm2Config | DnabertSConfig,
    state: Mapping[str, torch.Tensor],
    *,
    tokenizer_json: str | None = None,
) -> ModelFolder:
    """Write a model folder from tensors named as published; a DNA model needs `tokenizer_json`.

    Raises IntegrityError when the tensors do not fit the config, before anything is written.
    """
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    optional = {name: shape for name, shape in optional_shapes(config).items() if name in found}
    check_shapes(folder / WEIGHTS_FILE, found, {**published_shapes(config), **optional})
    write_weights(folder / WEIGHTS_FILE, state)
    if tokenizer_json is not None:
        write_text(folder / TOKENIZER_FILE, tokenizer_json)
    write_text(folder / CONFIG_FILE, config.model_dump_json(indent=1) + "\n")
    return read_model_folder(folder)


def random_weights(config: Esm2Config | DnabertSConfig, *, seed: int) -> dict[str, torch.Tensor]:
    """Weights of the right names, shapes and scale that know nothing: for tests and benchmarks.

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
