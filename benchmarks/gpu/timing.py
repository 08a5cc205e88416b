"""Rates of several ways to do one thing, taken in turns."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from benchmarks.gpu.models import Config

ROUNDS = 3
PEAK = 989e12
"""Dense float16 and bfloat16 operations a second of an H100 or H200 SXM, by NVIDIA's data sheet."""

Work = Callable[[], object]


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_each(works: Mapping[str, Work], device: torch.device, seconds: float) -> dict[str, float]:
    """Median seconds of one call of each, from rounds of at least `seconds` in which they take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    with torch.inference_mode():
        for work in works.values():
            work()
            work()
        for _ in range(ROUNDS):
            for name, work in works.items():
                found[name].append(_seconds(work, device, seconds))
    return {name: statistics.median(times) for name, times in found.items()}


def _seconds(work: Work, device: torch.device, seconds: float) -> float:
    wait_for(device)
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(2):
            work()
        wait_for(device)
        calls += 2
    return (time.perf_counter() - started) / calls


def matrix_products(config: Config, tokens: int, dtype: torch.dtype, device: torch.device) -> Work:
    """The products of one layer on random numbers, and nothing else: the rate that a model can come near to."""
    shapes = config.matrix_shapes
    rows = {inner: torch.randn(tokens, inner, device=device, dtype=dtype) for inner, _ in shapes}
    weights = [torch.randn(outer, inner, device=device, dtype=dtype) for inner, outer in shapes]

    def multiply() -> None:
        for weight in weights:
            torch.nn.functional.linear(rows[weight.shape[1]], weight)

    return multiply


def matrix_rate(config: Config, tokens: int, seconds: float) -> float:
    """Operations a second, if one layer's products take so many seconds."""
    return sum(2 * inner * outer for inner, outer in config.matrix_shapes) * tokens / seconds
