"""Attention inside each sequence of a pack, with ALiBi biases and rotary positions.

`ATTEND` maps each kind of attention to its kernel. A kernel is called with the queries, keys and values of a pack, of
any floating dtype, [total, 3, heads, head width], the queries not yet scaled (except for "plain"). It returns
[total, heads · head width]: each token attends to the tokens of its own sequence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.vocabulary import Attention

_WITHOUT_PLANS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


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
        positions = torch.arange(longest, device=slopes.device, dtype=slopes.dtype)
        distances = (positions[:, None] - positions[None, :]).abs()
        return cls(slopes, (-slopes[:, None, None] * distances).to(dtype))


Attend = Callable[[torch.Tensor, TokenPack, Alibi | None], torch.Tensor]


def attend_dense_runs(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    """Dense scaled dot-product attention over runs of equal length, without any padding.

    cuDNN is not used: it plans for each new count and length, and every pack of reads has new ones. Planning then takes
    most of the time (`benchmarks.gpu biases`).
    """
    if qkv.is_cuda:
        with sdpa_kernel(_WITHOUT_PLANS):
            return _attend_dense_runs(qkv, pack, alibi)
    return _attend_dense_runs(qkv, pack, alibi)


def _attend_dense_runs(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    attention_output = torch.empty_like(qkv[:, 0])
    for run in pack.runs:
        block = qkv[run.tokens].view(run.count, run.length, *qkv.shape[1:])
        query, key, value = block.permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if alibi is None else alibi.table[None, :, : run.length, : run.length]
        values = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        attention_output[run.tokens] = values.transpose(1, 2).flatten(0, 1)
    return attention_output.flatten(1)


def rotary_frequencies(head_width: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """float32 [head width / 2]: 10000^(−2i / head width), what a model computes that was never rounded."""
    pairs = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
    return 1.0 / (10000.0**pairs)


def attend_varlen(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    """PyTorch's kernel for sequences of varying length: CUDA, half precision and no bias.

    It is the operator that `torch.nn.attention.varlen.varlen_attn` calls. That function is not used because its first
    call imports PyTorch's compiler and sympy: 800 modules, 4 s of the start of each device process.
    """
    if alibi is not None:
        raise ValueError("varlen attention takes no biases")
    query, key, value = qkv.unbind(1)
    longest = pack.longest
    output, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, pack.bounds, pack.bounds, longest, longest, 0.0, False, False
    )
    return cast("torch.Tensor", output).flatten(1)


def attend_flash(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    """The kernel of flash-attn, which knows ALiBi and takes −slope · |i − j| where nothing is causal."""
    from flash_attn import flash_attn_varlen_qkvpacked_func  # noqa: PLC0415 - an extra of this package

    slopes = None if alibi is None else alibi.slopes
    attention_output: torch.Tensor = flash_attn_varlen_qkvpacked_func(
        qkv, pack.bounds, pack.longest, alibi_slopes=slopes
    )
    return attention_output.flatten(1)


def attend_plain(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    """Scores, biases, softmax and values written out; the queries are scaled already, where the original does."""
    attention_output = torch.empty_like(qkv[:, 0])
    for run in pack.runs:
        block = qkv[run.tokens].view(run.count, run.length, *qkv.shape[1:])
        query, key, value = block.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3)
        if alibi is not None:
            scores = scores + alibi.table[None, :, : run.length, : run.length]
        attention_output[run.tokens] = (scores.softmax(dim=3) @ value).transpose(1, 2).flatten(0, 1)
    return attention_output.flatten(1)


ATTEND: dict[Attention, Attend] = {
    "dense-runs": attend_dense_runs,
    "varlen": attend_varlen,
    "flash": attend_flash,
    "plain": attend_plain,
}


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
        positions = torch.arange(pack.longest, dtype=torch.float32, device=pack.tokens.device)
        angles = torch.outer(positions, frequencies)
        shape = (len(pack.tokens), 1, 1, len(frequencies))
        cos, sin = (wave.to(dtype)[pack.positions].view(shape) for wave in (angles.cos(), angles.sin()))
        return cls(cos, sin)

    def apply(self, qkv: torch.Tensor) -> torch.Tensor:
        """Rotate the queries and keys of `qkv` [total, 3, heads, head width] in place, and return it.

        Number i of a head pairs with number i + half, as in fair-esm's `rotate_half`.
        """
        half = qkv.shape[-1] // 2
        first, second = qkv[:, :2, :, :half], qkv[:, :2, :, half:]
        rotated = torch.addcmul(first * self.cos, second, self.sin, value=-1)
        second.mul_(self.cos).addcmul_(first, self.sin)
        first.copy_(rotated)
        return qkv


def apply_rotary(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """What `Rotary.apply` does, as a new tensor.

    A compiler makes one pass over the memory of this form, and several over that of the one in place.
    """
    half = qkv.shape[-1] // 2
    first, second = qkv[:, :2, :, :half], qkv[:, :2, :, half:]
    both = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return torch.cat((both, qkv[:, 2:]), dim=1)


@dataclass(frozen=True, slots=True)
class PairedRotary:
    """Rotary positions of a pack where the two numbers of a pair are neighbours, for CPUs.

    A pair is then one complex number, and its rotation one product over contiguous memory. fair-esm pairs number i of a
    head with number i + half; `pairs_side_by_side` brings the rows of a projection into the order 0, half, 1, half + 1,
    …. Done to queries and keys alike it changes no score. Rotated queries and keys are float32, and so is the attention
    over them: on a CPU its kernel is as fast as in bfloat16, and nothing is rounded in between.

    `rotations` is complex64 [total, 1, heads, head width / 2], of length one.
    """

    rotations: torch.Tensor

    @classmethod
    def of(cls, pack: TokenPack, frequencies: torch.Tensor, heads: int) -> "PairedRotary":
        """Rotations by position · frequency; `frequencies` is float32 [head width / 2]."""
        positions = torch.arange(pack.longest, dtype=torch.float32)
        angles = torch.outer(positions, frequencies)
        rotations = torch.complex(angles.cos(), angles.sin()).repeat(1, heads)
        # Repeated for each head, because a product over one head at a time is a short one.
        return cls(rotations[pack.positions].view(len(pack.tokens), 1, heads, len(frequencies)))

    def apply(self, qkv: torch.Tensor) -> torch.Tensor:
        """Rotate the queries and keys of `qkv` [total, 3, heads, head width].

        Returns float32: `qkv` itself, rotated in place, if it is float32.
        """
        exact = qkv.float()
        total, _, heads, head_width = exact.shape
        pairs = exact[:, :2].view(total, 2, heads, head_width // 2, 2)
        torch.view_as_complex(pairs).mul_(self.rotations)
        return exact


def pairs_side_by_side(projection: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a projection, [width, …], in the order in which pairs stand side by side."""
    halves = projection.view(heads, 2, -1, *projection.shape[1:])
    return halves.transpose(1, 2).reshape(projection.shape)
