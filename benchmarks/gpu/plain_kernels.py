"""What the kernels of `gpu_kernels` compute, in plain PyTorch: in float64, rounded where those round.

The same names, arguments and results, on any device.
"""

import torch
from torch import nn
from torch.nn import functional

from virnucpro_assets.models.attention import apply_rotary as rotated


def layer_norm(rows: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """The norm of `rows` [n, width], as new rows."""
    weight, bias = norm.weight.double(), norm.bias.double()
    return functional.layer_norm(rows.double(), norm.normalized_shape, weight, bias, norm.eps).to(rows.dtype)


def add_and_norm(rows: torch.Tensor, hidden: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """The norm of `hidden + rows`; the sum replaces `hidden`."""
    hidden.copy_(hidden.double() + rows.double())
    return layer_norm(hidden, norm)


def norm_of_sum(rows: torch.Tensor, hidden: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """The same, but `hidden` stays as it is."""
    return add_and_norm(rows, hidden.clone(), norm)


def apply_rotary(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the queries and keys of `qkv` [n, 3, heads, head width] in place."""
    return qkv.copy_(rotated(qkv.double(), cos.double(), sin.double()))


def gelu(rows: torch.Tensor) -> torch.Tensor:
    """The exact GELU of `rows` in place."""
    return rows.copy_(functional.gelu(rows.double()))


def gate(rows: torch.Tensor) -> torch.Tensor:
    """GELU of the first half of each row of [n, 2 · width], times its second half."""
    first, second = rows.double().chunk(2, dim=1)
    return (functional.gelu(first) * second).to(rows.dtype)
