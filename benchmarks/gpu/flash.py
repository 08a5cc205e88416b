"""The kernel of flash-attn beside the one that is chosen without it, where it is installed: equality, and speed."""

from functools import partial
from typing import Any

import torch

from benchmarks.gpu import biases
from benchmarks.gpu.agreement import compare
from benchmarks.gpu.models import (
    ESM2_650M,
    Config,
    Variant,
    equal_lengths,
    make_encoder,
    mixed_lengths,
)
from benchmarks.gpu.timing import seconds_each
from benchmarks.shapes import DNABERT_S
from virnucpro_assets.vocabulary import Attention, Precision

BUDGET = 32768
HALF: tuple[Precision, ...] = ("float16", "bfloat16")


def measure(device: torch.device, seconds: float) -> dict[str, Any]:
    """For both encoders, and for DNABERT-S also on packs of new lengths."""
    return {
        "esm2_650m": _beside(ESM2_650M, "varlen", device, BUDGET, seconds),
        "dnabert_s": _beside(DNABERT_S, "dense-runs", device, 2 * BUDGET, seconds),
        "dnabert_s, ways": biases.measure(DNABERT_S, device, seconds),
    }


def _beside(
    config: Config, chosen: Attention, device: torch.device, budget: int, seconds: float
) -> list[dict[str, Any]]:
    packs = {
        "52": equal_lengths(52, budget, device),
        "30 to 100": mixed_lengths(30, 100, budget, device),
    }
    reference = make_encoder(config, Variant("float32"), device).embed(packs["30 to 100"])
    rows = []
    for precision in HALF:
        for attention in (chosen, "flash"):
            variant = Variant(precision, attention, fused=True)
            encoder = make_encoder(config, variant, device)
            row: dict[str, Any] = {"variant": variant.name} | compare(encoder, packs["30 to 100"], reference)
            for name, pack in packs.items():
                took = seconds_each({name: partial(encoder.embed, pack)}, device, seconds)[name]
                row[f"tokens a second, {name}"] = round(len(pack.tokens) / took)
            rows.append(row)
    return rows
