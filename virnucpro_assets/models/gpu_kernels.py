"""GPU kernels for what an encoder computes between its matrix products: norms, sums, rotary positions, GELU, gates.

Each kernel makes one pass over the memory. Its launch configuration follows from the widths alone: nothing is chosen by
timing, and the number of rows does not change how a row is computed. So the order of every sum, and with it every bit,
is the same in each process on the same kind of GPU with the same PyTorch and Triton. Arithmetic is float32 whatever the
dtype of the rows; results are rounded once.

Rows must be contiguous and on a GPU. Import this module only where a model uses it: Triton comes with PyTorch for CUDA,
and each process compiles a kernel at its first call.
"""

import math

import torch
import triton
import triton.language as tl
from torch import nn

_COLUMNS = 1024
"""Columns of one program of an element-wise kernel."""
_WARPS = 4
_NUMBERS_OF_A_WARP = 512
_MOST_WARPS = 16
_ROOT_OF_HALF = tl.constexpr(math.sqrt(0.5))


def layer_norm(rows: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """The norm of `rows` [n, width], as new rows."""
    return _normed(rows, rows, norm, is_sum=False, is_kept=False)


def add_and_norm(rows: torch.Tensor, hidden: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """The norm of `hidden + rows`, both [n, width], as new rows; the sum is rounded first, and replaces `hidden`."""
    return _normed(rows, hidden, norm, is_sum=True, is_kept=True)


def norm_of_sum(rows: torch.Tensor, hidden: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """As `add_and_norm`, but `hidden` is not changed."""
    return _normed(rows, hidden, norm, is_sum=True, is_kept=False)


def apply_rotary(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate the queries and keys of `qkv` [n, 3, heads, head width] in place, and return it.

    `cos` and `sin` are contiguous [n, 1, 1, head width / 2]. Number i of a head pairs with number i + half.
    """
    _check(qkv, cos, sin)
    heads, half = qkv.shape[2], qkv.shape[3] // 2
    block = triton.next_power_of_2(heads * half)
    _rotary_kernel[len(qkv), 2](qkv, cos, sin, heads=heads, half=half, block=block, num_warps=_warps(block))
    return qkv


def gelu(rows: torch.Tensor) -> torch.Tensor:
    """The exact GELU of `rows` [n, width] in place, and return them."""
    return _activated(rows, rows, is_gated=False)


def gate(rows: torch.Tensor) -> torch.Tensor:
    """GELU of the first half of each row of [n, 2 · width], times its second half: new rows [n, width]."""
    return _activated(rows, rows.new_empty(len(rows), rows.shape[1] // 2), is_gated=True)


def _normed(
    rows: torch.Tensor, hidden: torch.Tensor, norm: nn.LayerNorm, *, is_sum: bool, is_kept: bool
) -> torch.Tensor:
    _check(rows, hidden)
    normed, width = torch.empty_like(rows), rows.shape[1]
    block = triton.next_power_of_2(width)
    _norm_kernel[len(rows),](
        rows,
        hidden,
        norm.weight,
        norm.bias,
        normed,
        norm.eps,
        is_sum=is_sum,
        is_kept=is_kept,
        width=width,
        block=block,
        num_warps=_warps(block),
    )
    return normed


def _activated(rows: torch.Tensor, out: torch.Tensor, *, is_gated: bool) -> torch.Tensor:
    _check(rows, out)
    width = out.shape[1]
    grid = len(rows), triton.cdiv(width, _COLUMNS)
    _activation_kernel[grid](rows, out, is_gated=is_gated, width=width, block=_COLUMNS, num_warps=_WARPS)
    return out


def _warps(block: int) -> int:
    """Warps for a row of `block` numbers, a power of two."""
    return min(max(block // _NUMBERS_OF_A_WARP, 1), _MOST_WARPS)


def _check(*tensors: torch.Tensor) -> None:
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise ValueError(
            f"found strides {[tensor.stride() for tensor in tensors]}; expected contiguous tensors"
        )


@triton.jit
def _norm_kernel(
    rows: tl.tensor,
    hidden: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    normed: tl.tensor,
    epsilon: tl.tensor,
    is_sum: tl.constexpr,
    is_kept: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """One program a row. The variance is that of the centred numbers, so that nothing cancels."""
    start = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, block)
    inside = column < width
    values = tl.load(rows + start + column, mask=inside, other=0.0).to(tl.float32)
    if is_sum:
        values += tl.load(hidden + start + column, mask=inside, other=0.0).to(tl.float32)
        rounded = values.to(hidden.dtype.element_ty)
        if is_kept:
            tl.store(hidden + start + column, rounded, mask=inside)
        values = rounded.to(tl.float32)
    centred = tl.where(inside, values - tl.sum(values, 0) / width, 0.0)
    scale = 1.0 / tl.sqrt_rn(tl.sum(centred * centred, 0) / width + epsilon)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + start + column, centred * scale * factor + shift, mask=inside)


@triton.jit
def _rotary_kernel(
    qkv: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    heads: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """One program for the queries of a token, one for its keys; each pair of numbers of every head on its own."""
    token = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, block)
    inside = pair < heads * half
    head, number = pair // half, pair % half
    first_at = qkv + (token * 3 + tl.program_id(1)) * (2 * heads * half) + head * (2 * half) + number
    first = tl.load(first_at, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(first_at + half, mask=inside, other=0.0).to(tl.float32)
    across = tl.load(cos + token * half + number, mask=inside, other=0.0).to(tl.float32)
    along = tl.load(sin + token * half + number, mask=inside, other=0.0).to(tl.float32)
    tl.store(first_at, first * across - second * along, mask=inside)
    tl.store(first_at + half, second * across + first * along, mask=inside)


@triton.jit
def _activation_kernel(
    rows: tl.tensor, out: tl.tensor, is_gated: tl.constexpr, width: tl.constexpr, block: tl.constexpr
) -> None:
    """One program for a block of columns of a row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    source = rows + row * (2 * width if is_gated else width) + column
    values = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    values = 0.5 * values * (1.0 + tl.erf(values * _ROOT_OF_HALF))
    if is_gated:
        values *= tl.load(source + width, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, values, mask=inside)
