"""Attention inside each sequence of a pack, and the biases and rotations that belong to it.

`attend` is the one place that knows which kernel runs. Here it is dense scaled dot-product
attention over runs of equal length, which every device has; a kernel for sequences of varying
length has the same inputs and outputs.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from virnucpro_assets.models.packs import TokenPack


@dataclass(frozen=True, slots=True)
class Alibi:
    """Symmetric ALiBi (Press et al. 2022, both directions): bias −slope · |i − j| of head h.

    `slopes` is float32 [heads], `table` [heads, longest, longest] in the dtype of computing.
    """

    slopes: torch.Tensor
    table: torch.Tensor

    @classmethod
    def up_to(cls, slopes: torch.Tensor, longest: int, dtype: torch.dtype) -> "Alibi":
        """The biases for sequences of at most `longest` tokens."""
        places = torch.arange(longest, device=slopes.device, dtype=slopes.dtype)
        distances = (places[:, None] - places[None, :]).abs()
        return cls(slopes, (-slopes[:, None, None] * distances).to(dtype))


def attend(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None = None) -> torch.Tensor:
    """Let every token look at the tokens of its own sequence.

    `qkv` is [total, 3, heads, head width]: queries, keys and values, the queries not yet scaled.
    Returns [total, heads · head width].
    """
    mixed = torch.empty_like(qkv[:, 0])
    for run in pack.runs:
        block = qkv[run.tokens].view(run.count, run.length, *qkv.shape[1:])
        query, key, value = block.permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if alibi is None else alibi.table[None, :, : run.length, : run.length]
        looked = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed[run.tokens] = looked.transpose(1, 2).flatten(0, 1)
    return mixed.flatten(1)


def rotary_frequencies(head_width: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """float32 [head width / 2]: 10000^(−2i / head width), what a model computes that was never rounded."""
    pairs = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
    return 1.0 / (10000.0**pairs)


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary positions (Su et al. 2021) of a pack: `cos` and `sin` [total, 1, 1, head width / 2]."""

    cos: torch.Tensor
    sin: torch.Tensor

    @classmethod
    def of(cls, pack: TokenPack, frequencies: torch.Tensor, dtype: torch.dtype) -> "Rotary":
        """The angles position · frequency, taken in float32 and then rounded to `dtype`.

        `frequencies` is float32 [head width / 2], one for each pair of numbers of a head.
        """
        places = torch.arange(pack.longest, dtype=torch.float32, device=pack.tokens.device)
        angles = torch.outer(places, frequencies)
        shape = (len(pack.tokens), 1, 1, len(frequencies))
        cos, sin = (wave.to(dtype)[pack.positions].view(shape) for wave in (angles.cos(), angles.sin()))
        return cls(cos, sin)

    def turn(self, qkv: torch.Tensor) -> torch.Tensor:
        """Turn the queries and keys of `qkv` [total, 3, heads, head width] in place, and return it.

        Number i of a head pairs with number i + half, as in fair-esm's `rotate_half`.
        """
        half = qkv.shape[-1] // 2
        first, second = qkv[:, :2, :, :half], qkv[:, :2, :, half:]
        turned = torch.addcmul(first * self.cos, second, self.sin, value=-1)
        second.mul_(self.cos).addcmul_(first, self.sin)
        first.copy_(turned)
        return qkv
