"""What was tried for the time that is not spent in matrix products, each way by itself.

The ways are PyTorch's kernels as they come, kernels for sequences of varying length, compiled
layers, one recorded graph for a whole pack, larger packs, and products of 8-bit numbers.
"""

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.models import Config, Variant, equal_lengths, make_encoder, mixed_lengths
from benchmarks.gpu.timing import seconds_each, wait_for
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.fused_linear import FusedLinear
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack

BUDGETS = (8192, 16384, 32768, 65536)
LARGEST_8_BIT = 448.0
"""The largest number of torch.float8_e4m3fn."""
LISTED = 14


def measure(config: Config, device: torch.device, seconds: float) -> dict[str, Any]:
    """Tokens a second of each way, and the kernels of the one that is chosen."""
    chosen = "varlen" if isinstance(config, Esm2Config) else "dense-runs"
    fused = make_encoder(config, Variant("float16", chosen, fused=True), device)
    result: dict[str, Any] = {"budgets": _budgets(fused, device, seconds)}
    result["kernels"] = _kernels(fused, mixed_lengths(30, 100, 32768, device))
    if isinstance(config, Esm2Config):
        result["8-bit products"] = _eight_bits(fused, device, seconds)
        del fused
        torch.cuda.empty_cache()
        result["ways"] = _ways(config, device, seconds)
    return result


def _budgets(encoder: PackedEncoder, device: torch.device, seconds: float) -> dict[str, int]:
    found = {}
    for budget in BUDGETS:
        pack = mixed_lengths(30, 100, budget, device)
        took = seconds_each({"pack": partial(encoder.embed, pack)}, device, seconds)["pack"]
        found[str(budget)] = round(len(pack.tokens) / took)
    return found


def _ways(config: Config, device: torch.device, seconds: float) -> dict[str, dict[str, int]]:
    packs = {
        "52, 32768 tokens": equal_lengths(52, 32768, device),
        "30 to 100, 32768 tokens": mixed_lengths(30, 100, 32768, device),
        "30 to 100, 2048 tokens": mixed_lengths(30, 100, 2048, device),
    }
    found: dict[str, dict[str, int]] = {}
    for variant in (
        Variant("float16"),
        Variant("float16", "varlen"),
        Variant("float16", fused=True),
        Variant("float16", "varlen", fused=True),
    ):
        encoder = make_encoder(config, variant, device)
        for name, pack in packs.items():
            works: dict[str, Callable[[], object]] = {variant.name: partial(encoder.embed, pack)}
            if variant.attention == "varlen" and not variant.fused:
                works[f"{variant.name}, one graph"] = _graph(encoder, pack, device)
            took = seconds_each(works, device, seconds)
            found.setdefault(name, {}).update(
                {way: round(len(pack.tokens) / each) for way, each in took.items()}
            )
        del encoder
        torch.cuda.empty_cache()
    return found


def _graph(encoder: PackedEncoder, pack: TokenPack, device: torch.device) -> Callable[[], object]:
    """The pack's kernels recorded once: what launching them one by one costs is the difference."""
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        encoder.embed(pack)
        wait_for(device)
        with torch.cuda.graph(graph):
            encoder.embed(pack)
    return graph.replay


def _kernels(encoder: PackedEncoder, pack: TokenPack) -> dict[str, float]:
    """The share of the device's time of each kind of kernel, largest first."""
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as record:
        for _ in range(3):
            encoder.embed(pack)
        wait_for(encoder.device)
    times = {
        event.key: event.self_device_time_total
        for event in record.key_averages()
        if event.self_device_time_total and event.device_type == torch.autograd.DeviceType.CUDA
    }
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda item: -item[1])[:LISTED]
    return {name[:90]: round(time / total, 4) for name, time in largest}


def _eight_bits(encoder: PackedEncoder, device: torch.device, seconds: float) -> dict[str, Any]:
    """The products in 8 bits, a scale for each row and each column, against the same model without."""
    pack = mixed_lengths(30, 100, 32768, device)
    expected = encoder.embed(pack)
    plain = seconds_each({"pack": lambda: encoder.embed(pack)}, device, seconds)["pack"]
    with _products_in_8_bits(encoder):
        found = encoder.embed(pack)
        took = seconds_each({"pack": lambda: encoder.embed(pack)}, device, seconds)["pack"]
    cosines = functional.cosine_similarity(found.double(), expected.double(), dim=1)
    return {
        "times as fast": round(plain / took, 2),
        "tokens a second": round(len(pack.tokens) / took),
        "least cosine": cosines.min().item(),
        "1st percentile of cosines": cosines.quantile(0.01).item(),
    }


@contextmanager
def _products_in_8_bits(encoder: PackedEncoder) -> Any:
    weights = {
        id(module): _rounded(module.weight)
        for module in encoder.model.modules()
        if isinstance(module, FusedLinear)
    }
    forward = FusedLinear.forward

    def in_8_bits(
        product: FusedLinear, rows: torch.Tensor, *, gelu: bool = False, added: torch.Tensor | None = None
    ) -> torch.Tensor:
        values, scale = _rounded(rows)
        weight, weight_scale = weights[id(product)]
        out = torch._scaled_mm(
            values,
            weight.t(),
            scale_a=scale,
            scale_b=weight_scale.t(),
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        ).to(rows.dtype)
        out = out + product.bias
        out = functional.gelu(out) if gelu else out
        return out if added is None else out + added

    FusedLinear.forward = in_8_bits
    torch._dynamo.reset()
    try:
        with torch.inference_mode():
            yield
    finally:
        FusedLinear.forward = forward
        torch._dynamo.reset()


def _rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = rows.abs().amax(dim=1, keepdim=True).float() / LARGEST_8_BIT
    return (rows / scale).to(torch.float8_e4m3fn), scale
