"""Encoders of published shapes with random weights, made on the device, and packs for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.progress import step
from benchmarks.shapes import DNABERT_S, ESM2_8M
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.models import dnabert_s, esm2
from virnucpro_assets.models.configs import DnabertSConfig, EncoderConfig, Esm2Config
from virnucpro_assets.models.encoders import ENCODERS, TOKENIZER_FILE
from virnucpro_assets.models.folders import ModelFolder
from virnucpro_assets.models.loading import DTYPES, published_shapes, save_encoder, warm_up
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import Attention, Precision

Config = EncoderConfig

ESM2_650M = Esm2Config(num_hidden_layers=33, hidden_size=1280, num_attention_heads=20)
ESM2_3B = Esm2Config(num_hidden_layers=36, hidden_size=2560, num_attention_heads=40)
SMALL_DNABERT_S = DnabertSConfig(
    num_hidden_layers=2, hidden_size=96, num_attention_heads=12, intermediate_size=192, vocab_size=4096
)
SHAPES: dict[str, Config] = {
    "esm2_8m": ESM2_8M,
    "esm2_650m": ESM2_650M,
    "esm2_3b": ESM2_3B,
    "dnabert_s": DNABERT_S,
}
LENGTHS = (52, 102, 170)
_FIRST_LETTER, _AFTER_LETTERS = 4, 24


@dataclass(frozen=True)
class Variant:
    """A way to run an encoder."""

    precision: Precision = "float16"
    attention: Attention = "dense-runs"
    fused: bool = False

    @property
    def name(self) -> str:
        fused = ", fused" if self.fused else ""
        return f"{self.precision}, {self.attention}{fused}"


def random_state(config: Config, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    """Weights as `random_weights` scales them, drawn on the device, for large shapes."""
    generator = torch.Generator(device).manual_seed(1)
    state = {}
    for name, shape in published_shapes(config).items():
        noise = torch.randn(shape, generator=generator, device=device)
        if len(shape) == 2:
            noise = noise if "embed" in name else noise / shape[1] ** 0.5
        else:
            noise = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
        state[name] = noise.to(dtype)
    return state


def make_encoder(
    config: Config, variant: Variant, device: torch.device, *, warm: bool = True
) -> PackedEncoder:
    """An encoder on the device, warmed up if it is fused, unless that is to be measured."""
    state = random_state(config, DTYPES[variant.precision], device)
    make = esm2.Esm2.from_published if isinstance(config, Esm2Config) else dnabert_s.DnabertS.from_published
    model = make(config, state, variant.attention, fused=variant.fused)
    if variant.fused and warm:
        warm_up(model, device)
    return PackedEncoder(
        kind=config.kind,
        width=config.hidden_size,
        precision=variant.precision,
        device=device,
        model=model,
        tokeniser=_no_tokens,
        excluded_special_tokens=ENCODERS[config.kind].excluded_special_tokens,
    )


def save_random(config: Config, folder: Path, device: torch.device) -> ModelFolder:
    """A model folder of random weights, in half precision if they are made on a GPU; says what it does."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    tokenizer = MODELS_FOLDER / "dnabert_s" / TOKENIZER_FILE if config.kind == "dnabert_s" else None
    with step(f"{config.kind}: random weights on {device}"):
        state = random_state(config, dtype, device)
    with step(f"{config.kind}: saving and digesting {sum(t.nbytes for t in state.values()) >> 20} MiB"):
        saved = save_encoder(folder, config, state, tokenizer_json=tokenizer and tokenizer.read_text())
    del state
    if device.type == "cuda":
        # What this process holds on to would count as memory of the device processes.
        torch.cuda.empty_cache()
    return saved


def equal_lengths(length: int, budget: int, device: torch.device) -> TokenPack:
    """A full pack of sequences of one length."""
    return pack_of(np.full(max(1, budget // length), length, np.int64), device)


def mixed_lengths(lowest: int, highest: int, budget: int, device: torch.device) -> TokenPack:
    """A full pack of sequences of lengths drawn evenly, longest first."""
    lengths = np.random.default_rng(0).integers(lowest, highest + 1, 1 + budget // lowest)
    fitting = lengths[np.cumsum(lengths) <= budget]
    return pack_of(-np.sort(-fitting).astype(np.int64), device)


def pack_of(lengths: np.ndarray[tuple[int], np.dtype[np.int64]], device: torch.device) -> TokenPack:
    """Random letters in sequences of these lengths."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(_FIRST_LETTER, _AFTER_LETTERS, (int(lengths.sum()),), generator=generator)
    return TokenPack(tokens.to(device), lengths)


def _no_tokens(sequences: Ragged) -> Tokens:
    raise TypeError("packs are made of tokens here, not of sequences")
