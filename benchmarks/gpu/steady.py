"""What one change of the kernels is judged by: tokens a second of the fused way, and the seconds until it runs.

In one process each, so that the same command can be given for another commit in the same call. Compiled kernels
are where TRITON_CACHE_DIR and TORCHINDUCTOR_CACHE_DIR say: `first pack` is a cold start if these are empty.
"""

import time
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.models import ESM2_3B, Variant, equal_lengths, make_encoder, mixed_lengths
from benchmarks.gpu.timing import matrix_products, matrix_rate, seconds_each, wait_for
from benchmarks.shapes import DNABERT_S
from virnucpro_assets.models.configs import count_flops

LENGTH, LOWEST, HIGHEST = 52, 30, 100


def measure(device: torch.device, seconds: float) -> dict[str, dict[str, Any]]:
    """Of DNABERT-S and ESM-2 3B in float16."""
    found = {}
    for config, attention, budget in ((DNABERT_S, "dense-runs", 65536), (ESM2_3B, "varlen", 32768)):
        encoder = make_encoder(config, Variant("float16", attention, fused=True), device, warm=False)
        packs = {
            f"{LENGTH}": equal_lengths(LENGTH, budget, device),
            f"{LOWEST} to {HIGHEST}": mixed_lengths(LOWEST, HIGHEST, budget, device),
        }
        started = time.perf_counter()
        encoder.embed(packs[f"{LENGTH}"])
        wait_for(device)
        figures: dict[str, Any] = {"seconds of the first pack": round(time.perf_counter() - started, 2)}
        products = matrix_products(config, budget, torch.float16, device)
        for name, pack in packs.items():
            took = seconds_each({"pack": partial(encoder.embed, pack), "products": products}, device, seconds)
            rate = count_flops(config, pack.lengths).total / took["pack"]
            figures[f"tokens of a sequence: {name}"] = {
                "tokens a second": round(len(pack.tokens) / took["pack"]),
                "share of matrix rate": round(rate / matrix_rate(config, budget, took["products"]), 3),
            }
        found[config.kind] = figures
        del encoder, products
        torch.cuda.empty_cache()
    return found
