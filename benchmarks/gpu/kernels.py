"""Our kernels against plain PyTorch in float64, row by row, and the time and bandwidth of each.

A difference counts in units of the last place of the dtype, of the number itself or of 1 if that is larger.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn

from benchmarks.gpu import plain_kernels
from benchmarks.gpu.timing import seconds_each
from virnucpro_assets.models.attention import rotary_frequencies

WIDTHS = {320: 20, 480: 20, 768: 12, 1280: 20, 2560: 40, 5120: 40}
"""Width of each published shape, and its heads."""
ROWS, FEW = 515, 3
TOKENS, WIDTH = 32768, 2560
MOST_UNITS = {torch.float16: 1.0, torch.bfloat16: 1.0, torch.float32: 32.0}

Case = tuple[str, Callable[[ModuleType, int], torch.Tensor], int]
"""Name, the result of the kernel of a module on the first so many rows, and passes over [rows, width] of memory."""


def measure(device: torch.device, seconds: float) -> dict[str, Any]:
    """Raises RuntimeError if a kernel is further from the plain one than a rounding, or if neighbours change bits."""
    # Triton comes with PyTorch for CUDA.
    from virnucpro_assets.models import gpu_kernels  # noqa: PLC0415

    worst: dict[str, float] = {}
    for dtype, most in MOST_UNITS.items():
        for width, heads in WIDTHS.items():
            for name, run, _ in _cases(ROWS, width, heads, dtype, device):
                found, expected = run(gpu_kernels, ROWS), run(plain_kernels, ROWS)
                units = _units(found, expected)
                if not units <= most:
                    raise RuntimeError(
                        f"{name}, {dtype}, width {width}: found {units} units; expected {most}"
                    )
                if not torch.equal(run(gpu_kernels, ROWS), found):
                    raise RuntimeError(f"{name}, {dtype}, width {width}: other bits when done again")
                if not torch.equal(run(gpu_kernels, FEW), found[:FEW]):
                    raise RuntimeError(f"{name}, {dtype}, width {width}: other bits among fewer rows")
                key = f"{name}, {str(dtype).removeprefix('torch.')}"
                worst[key] = max(worst.get(key, 0.0), units)
    return {
        "largest difference in units of the last place": worst,
        "rates": _rates(gpu_kernels, device, seconds),
    }


def _rates(kernels: ModuleType, device: torch.device, seconds: float) -> dict[str, dict[str, float]]:
    """Microseconds at the width of ESM-2 3B in float16, and GB a second of what has to be read and written."""
    found = {}
    for name, run, passes in _cases(TOKENS, WIDTH, WIDTHS[WIDTH], torch.float16, device):
        took = seconds_each({name: lambda run=run: run(kernels, TOKENS)}, device, seconds)[name]
        moved = passes * 2 * TOKENS * WIDTH
        found[name] = {"microseconds": round(1e6 * took, 1), "GB a second": round(moved / took / 1e9)}
    return found


def _units(found: torch.Tensor, expected: torch.Tensor) -> float:
    scale = torch.finfo(found.dtype).eps * expected.double().abs().clamp(min=1.0)
    return ((found.double() - expected.double()).abs() / scale).max().item()


def _cases(rows: int, width: int, heads: int, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    generator = torch.Generator(device).manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device).to(dtype)

    norm = nn.LayerNorm(width, device=device, dtype=dtype).requires_grad_(requires_grad=False)
    norm.weight.copy_(1 + 0.1 * draw(width))
    norm.bias.copy_(0.1 * draw(width))
    # Far from zero, so that a variance that cancels would show.
    out, hidden = draw(rows, width), draw(rows, width) + 4
    yield "layer_norm", lambda kernels, n: kernels.layer_norm(hidden[:n], norm), 2
    yield "norm_of_sum", lambda kernels, n: kernels.norm_of_sum(out[:n], hidden[:n], norm), 3

    def add_and_norm(kernels: ModuleType, n: int) -> torch.Tensor:
        summed = hidden[:n].clone()
        normed = kernels.add_and_norm(out[:n], summed, norm)
        return torch.cat((normed, summed), dim=1)

    # The copies of input and results count as well: two passes, and four.
    yield "add_and_norm", add_and_norm, 4 + 2 + 4
    wide = draw(rows, 4 * width)
    yield "gelu", lambda kernels, n: kernels.gelu(wide[:n].clone()), 8 + 8
    yield "gate", lambda kernels, n: kernels.gate(wide[:n]), 4 + 2
    half = width // heads // 2
    angles = torch.outer(torch.arange(rows, device=device), rotary_frequencies(2 * half, device))
    cos, sin = (wave.to(dtype).view(rows, 1, 1, half) for wave in (angles.cos(), angles.sin()))
    qkv = draw(rows, 3, heads, 2 * half)
    yield "apply_rotary", lambda kernels, n: kernels.apply_rotary(qkv[:n].clone(), cos[:n], sin[:n]), 4 + 6
