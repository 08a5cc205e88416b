"""The matrix products of an encoder, each fused with what follows it: bias, GELU, a sum or a gate.

On a CPU each is one kernel of oneDNN over prepacked weights: no intermediate result is written to memory for a bias, an
activation or a residual. On other devices, and for a dtype that this CPU does not support, they are torch's own
operators. Both round to the dtype of computing; inside the kernel everything is float32.
"""

import torch
from torch import nn
from torch.nn import functional

_ROWS_EXPECTED = 1024
"""oneDNN chooses the layout for this many rows. Other numbers of rows give the same results."""


class FusedLinear(nn.Linear):
    """A linear layer, then GELU with `gelu`, then plus `added` if it is given."""

    prepacked: torch.Tensor | None = None

    def prepack(self) -> None:
        """Reorder the weights for the kernel; the module then has no parameter `weight` any more."""
        self.prepacked = _prepacked(self.weight)
        del self.weight

    def forward(
        self, rows: torch.Tensor, *, gelu: bool = False, added: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[n, columns out] from `rows` [n, columns in]; GELU is the exact one."""
        if self.prepacked is not None:
            return _fused(rows, self.prepacked, self.bias, gelu=gelu, added=added)
        out = functional.linear(rows, self.weight, self.bias)
        out = functional.gelu(out) if gelu else out
        return out if added is None else out + added


class FusedGatedLinear(nn.Linear):
    """One matrix without bias that gives gate and value: GELU of the first half, times the second."""

    prepacked: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, columns: int, inner: int) -> None:
        super().__init__(columns, 2 * inner, bias=False)

    def prepack(self) -> None:
        """Reorder the weights for the kernel; the module then has no parameter `weight` any more."""
        gate, value = self.weight.chunk(2)
        self.prepacked = _prepacked(gate), _prepacked(value)
        del self.weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, inner] from `rows` [n, columns]."""
        if self.prepacked is not None:
            gate = _fused(rows, self.prepacked[0], None, gelu=True)
            gated: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                rows, gate, self.prepacked[1], None, "mul"
            )
            return gated
        first, second = functional.linear(rows, self.weight).chunk(2, dim=1)
        return functional.gelu(first) * second


def prepack_weights(model: nn.Module) -> None:
    """Prepack, in place, the weights of all fused layers of `model` that are on a CPU with a kernel for them."""
    for module in model.modules():
        if isinstance(module, FusedLinear | FusedGatedLinear) and _has_kernel(module.weight):
            module.prepack()


def _has_kernel(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call] # torch has no types here
        return False
    kernels = torch.ops.mkldnn
    match weight.dtype:
        case torch.bfloat16:
            return bool(kernels._is_mkldnn_bf16_supported())
        case torch.float16:
            return bool(kernels._is_mkldnn_fp16_supported())
    return weight.dtype == torch.float32


def _prepacked(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(
        weight.detach().contiguous(), _ROWS_EXPECTED
    )
    return packed


def _fused(
    rows: torch.Tensor,
    packed: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    gelu: bool = False,
    added: torch.Tensor | None = None,
) -> torch.Tensor:
    kernel = torch.ops.mkldnn._linear_pointwise
    if added is not None and not gelu:
        summed: torch.Tensor = kernel.binary(rows, added, packed, bias, "add")
        return summed
    out: torch.Tensor = kernel(rows, packed, bias, "gelu" if gelu else "none", [], "none")
    return out if added is None else out + added
