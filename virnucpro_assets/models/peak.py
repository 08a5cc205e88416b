"""The peak of a device: the rate of its matrix products, which MFU is a share of."""

import time

import torch

_SIZE_ON_CPU, _SIZE_ON_GPU = 1024, 8192
_ROUNDS = 3


def measure_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Operations a second of square products on `device`, the best of a few.

    Takes some tens of milliseconds. On a busy machine the figure is too low.
    """
    device = torch.device(device)
    size = _SIZE_ON_GPU if device.type == "cuda" else _SIZE_ON_CPU
    generator = torch.Generator(device).manual_seed(0)
    factor = torch.randn(size, size, generator=generator, device=device).to(dtype)
    seconds = min(_timed_product(factor) for _ in range(_ROUNDS + 1))
    return 2 * size**3 / seconds


def _timed_product(factor: torch.Tensor) -> float:
    started = time.perf_counter()
    product = factor @ factor
    # Reading a number waits until the product is there.
    product[0, 0].item()
    return time.perf_counter() - started
