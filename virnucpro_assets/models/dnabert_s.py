"""DNABERT-S (Zhou et al. 2024) over packs: token ids [total] in, hidden states [total, width] out.

A BERT in the form of MosaicBERT (Portes et al. 2023): no position embeddings but symmetric
ALiBi, post-layer-norm, and a gated MLP whose one matrix gives gate and value. Every token has
type 0. The pooler is left out. In bfloat16 and float16 the weights and all activations are of that
dtype, on a CPU except those of attention; sums inside products, norms and softmax are float32.
A fused model, on GPUs only, computes all that follows attention with kernels of our own (`gpu_kernels`).
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from virnucpro_assets.models.attention import ATTEND, Alibi
from virnucpro_assets.models.configs import DnabertSConfig
from virnucpro_assets.models.encoders import TOKENIZER_FILE
from virnucpro_assets.models.fused_linear import FusedGatedLinear, FusedLinear, prepack_weights
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.tokenisers import DnaTokenizer
from virnucpro_assets.models.weights import State, empty_embedding, read_weights
from virnucpro_assets.vocabulary import Attention

# The published name of each part of a layer, and ours.
_LAYER_PARTS = {
    "attention.self.Wqkv": "qkv",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "attention_norm",
    "mlp.gated_layers": "gate_and_value",
    "mlp.wo": "down",
    "mlp.layernorm": "mlp_norm",
}


class _Layer(nn.Module):
    def __init__(self, config: DnabertSConfig) -> None:
        super().__init__()
        width, epsilon = config.hidden_size, config.layer_norm_eps
        self.heads_shape = (3, config.num_attention_heads, config.head_width)
        self.qkv = FusedLinear(width, 3 * width)
        self.out = FusedLinear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.gate_and_value = FusedGatedLinear(width, config.intermediate_size)
        self.down = FusedLinear(config.intermediate_size, width)
        self.mlp_norm = nn.LayerNorm(width, eps=epsilon)

    def heads(self, hidden: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values [total, 3, heads, head width]."""
        qkv: torch.Tensor = self.qkv(hidden).unflatten(1, self.heads_shape)
        return qkv


def _heads_scaled(layer: _Layer, hidden: torch.Tensor) -> torch.Tensor:
    qkv = layer.heads(hidden)
    qkv[:, 0] *= qkv.shape[3] ** -0.5
    return qkv


def _after(layer: _Layer, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    hidden = layer.attention_norm(layer.out(attended.to(hidden.dtype), added=hidden))
    normed: torch.Tensor = layer.mlp_norm(layer.down(layer.gate_and_value(hidden), added=hidden))
    return normed


def _after_fused(layer: _Layer, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    from virnucpro_assets.models.gpu_kernels import gate, norm_of_sum  # noqa: PLC0415 - imports Triton

    hidden = norm_of_sum(layer.out(attended), hidden, layer.attention_norm)
    gated = gate(functional.linear(hidden, layer.gate_and_value.weight))
    return norm_of_sum(layer.down(gated), hidden, layer.mlp_norm)


class DnabertS(nn.Module):
    """The packed model. Its parameters need no gradients: it only infers."""

    def __init__(
        self, config: DnabertSConfig, attention: Attention = "dense-runs", *, fused: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self._attend = ATTEND[attention]
        self._heads = _heads_scaled if attention == "plain" else _Layer.heads
        self._after = _after_fused if fused else _after
        self.words = empty_embedding(config.vocab_size, config.hidden_size)
        self.types = empty_embedding(config.type_vocab_size, config.hidden_size)
        self.first_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    @classmethod
    def from_published(
        cls, config: DnabertSConfig, state: State, attention: Attention = "dense-runs", *, fused: bool = False
    ) -> "DnabertS":
        """Build the model from tensors named as in `published_shapes`; `state` is emptied on the way."""
        with torch.device("meta"):
            model = cls(config, attention, fused=fused)
        own = {own: state.pop(published) for published, own in _names(config).items()}
        model.load_state_dict(own, assign=True)
        if attention == "dense-runs" and not fused:
            prepack_weights(model)
        return model.requires_grad_(False).eval()

    def forward(self, pack: TokenPack) -> torch.Tensor:
        """[total, width]: every token's hidden state after the last layer."""
        hidden: torch.Tensor = self.first_norm(self.words(pack.tokens) + self.types.weight[0])
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads), device=hidden.device)
        # On a CPU the kernel of attention is as fast in float32, and rounds nothing.
        dtype = torch.float32 if hidden.device.type == "cpu" else hidden.dtype
        alibi = Alibi.up_to(slopes, pack.longest, dtype)
        for layer in cast("Iterable[_Layer]", self.layers):
            hidden = self._after(
                layer, hidden, self._attend(self._heads(layer, hidden).to(dtype), pack, alibi)
            )
        return hidden


def load(
    config: DnabertSConfig,
    weights: Path,
    dtype: torch.dtype,
    device: torch.device,
    attention: Attention,
    *,
    fused: bool,
) -> DnabertS:
    """The model with the weights of a file, ready to infer."""
    state = read_weights(weights, published_shapes(config), ignored=is_ignored, dtype=dtype, device=device)
    return DnabertS.from_published(config, state, attention, fused=fused)


def tokeniser(config: DnabertSConfig, folder: Path) -> DnaTokenizer:
    """The tokeniser of the model folder."""
    return DnaTokenizer(folder / TOKENIZER_FILE, vocabulary=config.vocab_size)


def alibi_slopes(heads: int) -> list[float]:
    """The slope of each head, by the rule of the ALiBi paper's code.

    For a power of two: the geometric sequence that starts at and multiplies by 2^(−8 / heads).
    For another number: the slopes of the next lower power of two, then every other slope of the
    next higher one, from its first on.
    """
    lower = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (head + 1) / lower) for head in range(lower)]
    between = [2 ** (-8 * (head + 1) / (2 * lower)) for head in range(0, 2 * lower, 2)]
    return slopes + between[: heads - lower]


def published_shapes(config: DnabertSConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor that the encoder needs, named as published."""
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in DnabertS(config).state_dict().items()}
    return {published: own[name] for published, name in _names(config).items()}


def optional_shapes(_config: DnabertSConfig) -> dict[str, tuple[int, ...]]:
    """None: a weights file has no other tensors that are read."""
    return {}


def is_ignored(name: str) -> bool:
    """Whether the published tensor `name` has no part in the hidden states."""
    return name.startswith("pooler.")


def _names(config: DnabertSConfig) -> dict[str, str]:
    """Our name of each published tensor."""
    names = {
        "embeddings.word_embeddings.weight": "words.weight",
        "embeddings.token_type_embeddings.weight": "types.weight",
        "embeddings.LayerNorm.weight": "first_norm.weight",
        "embeddings.LayerNorm.bias": "first_norm.bias",
    }
    for number in range(config.num_hidden_layers):
        for published, own in _LAYER_PARTS.items():
            for part in ("weight",) if own == "gate_and_value" else ("weight", "bias"):
                names[f"encoder.layer.{number}.{published}.{part}"] = f"layers.{number}.{own}.{part}"
    return names
