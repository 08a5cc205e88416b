"""Tokens a second, as a share of the data sheet's peak and of the matrix rate measured in turns with them."""

from functools import partial
from typing import Any

import torch

from benchmarks.gpu.models import (
    LENGTHS,
    Config,
    Variant,
    equal_lengths,
    make_encoder,
    mixed_lengths,
)
from benchmarks.gpu.timing import PEAK, matrix_products, matrix_rate, seconds_each
from virnucpro_assets.models.configs import Esm2Config, count_flops
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.models.packs import TokenPack

HALF = ("float16", "bfloat16")


def variants_of(config: Config, device: torch.device) -> list[Variant]:
    """The portable way, and on a GPU the one that is chosen there."""
    if device.type != "cuda":
        return [Variant("float32")]
    best = "varlen" if isinstance(config, Esm2Config) else "dense-runs"
    return [Variant("float16"), *(Variant(precision, best, fused=True) for precision in HALF)]


def measure(config: Config, device: torch.device, budget: int, seconds: float) -> list[dict[str, Any]]:
    """One row of figures for each variant and each mixture of lengths."""
    packs = {str(length): equal_lengths(length, budget, device) for length in LENGTHS}
    packs["30 to 100"] = mixed_lengths(30, 100, budget, device)
    rows = []
    for variant in variants_of(config, device):
        encoder = make_encoder(config, variant, device)
        products = matrix_products(config, budget, DTYPES[variant.precision], device)
        for name, pack in packs.items():
            found = seconds_each(
                {"encoder": partial(encoder.embed, pack), "products": products},
                device,
                seconds,
            )
            rate = matrix_rate(config, budget, found["products"])
            rows.append({"variant": variant.name, "tokens a sequence": name, "budget": budget})
            rows[-1] |= figures(config, pack, found["encoder"], rate)
        del encoder, products
        torch.cuda.empty_cache()
    return rows


def figures(config: Config, pack: TokenPack, seconds: float, rate: float) -> dict[str, float]:
    """What one pack in so many seconds comes to; `rate` are the operations a second of the products alone."""
    done = count_flops(config, pack.lengths).total / seconds
    return {
        "tokens a second": round(len(pack.tokens) / seconds),
        "TFLOP a second": round(done / 1e12, 1),
        "MFU": round(done / PEAK, 3),
        "share of matrix rate": round(done / rate, 3),
        "matrix TFLOP a second": round(rate / 1e12, 1),
    }
