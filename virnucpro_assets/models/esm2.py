"""ESM-2 (Lin et al. 2023) over packs: token ids [total] in, representations [total, width] out.

The computation follows `esm.model.esm2.ESM2` of fair-esm: embedding · 0.88, then per layer
pre-norm attention with rotary positions and a pre-norm MLP with exact GELU, then one last norm.
The language-model and contact heads are left out. Weights keep fair-esm's names in files; in
memory the three projections of a layer are one matrix. In bfloat16 and float16 the weights and
all activations are of that dtype, on a CPU except those of attention; sums inside products,
norms and softmax are float32 on every device.

ESM-2 was trained in float16, and its published files hold the frequencies of the rotary positions rounded to float16.
fair-esm and transformers use those, and so does this module: computed exactly they change an angle by up to 5e-4 of its
value. They stay float32 in every precision.

What a layer computes before and after attention are two functions; the kernel of attention runs in between. With plain
attention both follow fair-esm's own order of operations, which gives its exact numbers: for comparison, not for speed.
A fused model, on GPUs only, uses kernels of our own (`gpu_kernels`), which compute each sum together with the norm that
follows it.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from virnucpro_assets.models.attention import (
    ATTEND,
    PairedRotary,
    Rotary,
    apply_rotary,
    pairs_side_by_side,
    rotary_frequencies,
)
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.fused_linear import FusedLinear, prepack_weights
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.tokenisers import TOKENS, tokenise_proteins
from virnucpro_assets.models.weights import State, empty_embedding, fill_weights
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import Attention

# fair-esm's ESM2.forward: training masks 0.15 · 0.8 of the tokens and zeroes them, so inference
# scales the embeddings by what was left.
EMBEDDING_SCALE = 1 - 0.15 * 0.8

FREQUENCIES = "rot_emb.inv_freq"
"""The name of the rotary frequencies in a weights file: once, for all layers have the same."""

_MLP_FACTOR = 4
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_NOT_PAIRED = "weights prepared for a CPU work only with dense runs that are not fused"


class _Layer(nn.Module):
    def __init__(self, config: Esm2Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads_shape = (3, config.num_attention_heads, config.head_width)
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = FusedLinear(width, 3 * width)
        self.out = FusedLinear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = FusedLinear(width, _MLP_FACTOR * width)
        self.down = FusedLinear(_MLP_FACTOR * width, width)

    def heads(self, hidden: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values [total, 3, heads, head width], not yet rotated."""
        return self.projected(self.attention_norm(hidden))

    def projected(self, normed: torch.Tensor) -> torch.Tensor:
        """The same from `hidden` after its norm."""
        qkv: torch.Tensor = self.qkv(normed).unflatten(1, self.heads_shape)
        return qkv


def _before(layer: _Layer, hidden: torch.Tensor, rotary: Rotary | PairedRotary) -> torch.Tensor:
    return rotary.apply(layer.heads(hidden))


def _before_plain(layer: _Layer, hidden: torch.Tensor, rotary: Rotary | PairedRotary) -> torch.Tensor:
    qkv = layer.heads(hidden)
    qkv[:, 0] *= qkv.shape[3] ** -0.5
    assert isinstance(rotary, Rotary), _NOT_PAIRED
    return apply_rotary(qkv, rotary.cos, rotary.sin)


def _after_plain(layer: _Layer, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    hidden = hidden + layer.out(attended)
    expanded = layer.up(layer.mlp_norm(hidden))
    expanded = expanded * 0.5 * (1.0 + torch.erf(expanded / math.sqrt(2.0)))
    summed: torch.Tensor = hidden + layer.down(expanded)
    return summed


def _after(layer: _Layer, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    hidden = layer.out(attended.to(hidden.dtype), added=hidden)
    expanded = layer.up(layer.mlp_norm(hidden), gelu=True)
    summed: torch.Tensor = layer.down(expanded, added=hidden)
    return summed


class Esm2(nn.Module):
    """The packed model. Its parameters need no gradients: it only infers."""

    def __init__(
        self, config: Esm2Config, attention: Attention = "dense-runs", *, fused: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.fused = fused
        self.is_portable = attention == "dense-runs" and not fused
        self._attend = ATTEND[attention]
        self._before: Callable[[_Layer, torch.Tensor, Rotary | PairedRotary], torch.Tensor]
        self._after: Callable[[_Layer, torch.Tensor, torch.Tensor], torch.Tensor]
        self._before, self._after = _before, _after
        if attention == "plain":
            self._before, self._after = _before_plain, _after_plain
        self.embedding = empty_embedding(len(TOKENS), config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.last_norm = nn.LayerNorm(config.hidden_size)
        self.register_buffer("frequencies", torch.empty(config.head_width // 2))
        self.paired = False

    @classmethod
    def from_published(
        cls, config: Esm2Config, state: State, attention: Attention = "dense-runs", *, fused: bool = False
    ) -> "Esm2":
        """Build the model from tensors named as in `published_shapes`, in the dtype of the first.

        The rotary frequencies are computed if `state` has no tensor FREQUENCIES.
        """
        sample = state["embed_tokens.weight"]
        model = cls.empty(config, sample.dtype, sample.device, attention, fused=fused)
        with torch.no_grad():
            for name, target in model.parameter_targets().items():
                if name != FREQUENCIES or name in state:
                    target.copy_(state[name])
        return model.finalize()

    @classmethod
    def empty(
        cls,
        config: Esm2Config,
        dtype: torch.dtype,
        device: torch.device,
        attention: Attention = "dense-runs",
        *,
        fused: bool = False,
    ) -> "Esm2":
        """The model without weights: fill its `parameter_targets`, then call `finalize`. Its frequencies are set."""
        with torch.device("meta"):
            model = cls(config, attention, fused=fused).to(dtype)
        # Not to_empty: what it calls for the meta device imports sympy, 2 s of the start of a device process.
        memory = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
            for name, tensor in model.state_dict().items()
        }
        model.load_state_dict(memory, assign=True)
        model.frequencies = rotary_frequencies(config.head_width, device)
        return model

    def parameter_targets(self) -> State:
        """The part of the model's own tensors that each tensor of `published_shapes`, and FREQUENCIES, is copied to."""
        targets = {"embed_tokens.weight": self.embedding.weight, FREQUENCIES: self.get_buffer("frequencies")}
        parts: tuple[tuple[str, nn.Module], ...]
        for number, layer in enumerate(cast("Iterable[_Layer]", self.layers)):
            for kind in ("weight", "bias"):
                attention = f"layers.{number}.self_attn"
                thirds = layer.qkv.get_parameter(kind).chunk(3)
                targets |= {
                    f"{attention}.{name}.{kind}": third
                    for name, third in zip(_PROJECTIONS, thirds, strict=True)
                }
                parts = (
                    (f"{attention}.out_proj", layer.out),
                    (f"{attention}_layer_norm", layer.attention_norm),
                    (f"layers.{number}.final_layer_norm", layer.mlp_norm),
                    (f"layers.{number}.fc1", layer.up),
                    (f"layers.{number}.fc2", layer.down),
                )
                targets |= {f"{name}.{kind}": part.get_parameter(kind) for name, part in parts}
        for kind in ("weight", "bias"):
            targets[f"emb_layer_norm_after.{kind}"] = self.last_norm.get_parameter(kind)
        return targets

    def finalize(self) -> "Esm2":
        """The model, ready to infer: to be called once its weights are filled; on a CPU it prepacks them."""
        self.requires_grad_(False).eval()
        if self.embedding.weight.device.type == "cpu" and self.is_portable:
            self.prepare_for_cpu()
        return self

    @torch.no_grad()
    def prepare_for_cpu(self) -> None:
        """Reorder and prepack the weights for the CPU kernels."""
        for layer in cast("Iterable[_Layer]", self.layers):
            for tensor in (layer.qkv.weight, layer.qkv.bias):
                for projection in tensor.chunk(3)[:2]:
                    projection.copy_(pairs_side_by_side(projection, self.config.num_attention_heads))
        self.paired = True
        prepack_weights(self)

    def forward(self, pack: TokenPack) -> torch.Tensor:
        """[total, width]: every token's representation after the last layer norm."""
        hidden: torch.Tensor = self.embedding(pack.tokens) * EMBEDDING_SCALE
        rotary = self._rotary(pack, hidden.dtype)
        if self.fused:
            return self._through_fused_layers(hidden, rotary, pack)
        for layer in cast("Iterable[_Layer]", self.layers):
            attended = self._attend(self._before(layer, hidden, rotary), pack, None)
            hidden = self._after(layer, hidden, attended)
        normed: torch.Tensor = self.last_norm(hidden)
        return normed

    def _through_fused_layers(
        self, hidden: torch.Tensor, rotary: Rotary | PairedRotary, pack: TokenPack
    ) -> torch.Tensor:
        from virnucpro_assets.models import gpu_kernels  # noqa: PLC0415 - imports Triton

        assert isinstance(rotary, Rotary), _NOT_PAIRED
        layers = list(cast("Iterable[_Layer]", self.layers))
        norms_after = [*(layer.attention_norm for layer in layers[1:]), self.last_norm]
        normed = gpu_kernels.layer_norm(hidden, layers[0].attention_norm)
        for layer, norm_after in zip(layers, norms_after, strict=True):
            qkv = gpu_kernels.apply_rotary(layer.projected(normed), rotary.cos, rotary.sin)
            attended = layer.out(self._attend(qkv, pack, None))
            normed = gpu_kernels.add_and_norm(attended, hidden, layer.mlp_norm)
            widened = gpu_kernels.gelu(layer.up(normed))
            normed = gpu_kernels.add_and_norm(layer.down(widened), hidden, norm_after)
        return normed

    def _rotary(self, pack: TokenPack, dtype: torch.dtype) -> Rotary | PairedRotary:
        frequencies = self.get_buffer("frequencies")
        if self.paired:
            return PairedRotary.of(pack, frequencies, self.config.num_attention_heads)
        return Rotary.of(pack, frequencies, dtype)


def load(
    config: Esm2Config,
    weights: Path,
    dtype: torch.dtype,
    device: torch.device,
    attention: Attention,
    *,
    fused: bool,
) -> Esm2:
    """The model with the weights of a file, ready to infer."""
    model = Esm2.empty(config, dtype, device, attention, fused=fused)
    # Each projection is read into its part of one matrix: concatenated later, all three would be there twice.
    fill_weights(weights, model.parameter_targets(), optional=optional_shapes(config), ignored=is_ignored)
    return model.finalize()


def tokeniser(_config: Esm2Config, _folder: Path) -> Callable[[Ragged], Tokens]:
    """The tokeniser, which needs no file."""
    return tokenise_proteins


def published_shapes(config: Esm2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor that the encoder needs, named as in fair-esm."""
    width, mlp = config.hidden_size, _MLP_FACTOR * config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (len(TOKENS), width)}
    for number in range(config.num_hidden_layers):
        layer = f"layers.{number}"
        for projection in (*_PROJECTIONS, "out_proj"):
            shapes[f"{layer}.self_attn.{projection}.weight"] = (width, width)
            shapes[f"{layer}.self_attn.{projection}.bias"] = (width,)
        shapes |= {f"{layer}.fc1.weight": (mlp, width), f"{layer}.fc1.bias": (mlp,)}
        shapes |= {f"{layer}.fc2.weight": (width, mlp), f"{layer}.fc2.bias": (width,)}
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{layer}.{norm}.weight": (width,), f"{layer}.{norm}.bias": (width,)}
    return shapes | {"emb_layer_norm_after.weight": (width,), "emb_layer_norm_after.bias": (width,)}


def optional_shapes(config: Esm2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of the tensor that a weights file may have beside them: always float32."""
    return {FREQUENCIES: (config.head_width // 2,)}


def is_ignored(name: str) -> bool:
    """Whether fair-esm's tensor `name` has no part in the representations: it is of another head."""
    return name.startswith(("lm_head.", "contact_head."))
