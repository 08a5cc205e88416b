"""Half precision and fast kernels against float32, neighbours and order, at a published shape."""

from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu.models import Config, Variant, make_encoder, mixed_lengths
from benchmarks.gpu.throughput import variants_of
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack

ALONE = 16


def measure(config: Config, device: torch.device, budget: int) -> list[dict[str, Any]]:
    """For each variant the least cosine to float32, and what neighbours and order change."""
    pack = mixed_lengths(30, 100, budget, device)
    reference = make_encoder(config, Variant("float32"), device).embed(pack)
    return [
        {"variant": variant.name} | compare(make_encoder(config, variant, device), pack, reference)
        for variant in [Variant("float32"), Variant("bfloat16"), *variants_of(config, device)]
    ]


def compare(encoder: PackedEncoder, pack: TokenPack, reference: torch.Tensor) -> dict[str, float]:
    """How far `pack` is from a float32 `reference`, and what neighbours, order and doing it again change."""
    found = encoder.embed(pack)
    starts = pack.bounds.tolist()
    chosen = range(0, len(pack), max(1, len(pack) // ALONE))
    alone = torch.cat(
        [
            encoder.embed(TokenPack(pack.tokens[starts[i] : starts[i + 1]], pack.lengths[i : i + 1]))
            for i in chosen
        ]
    )
    turned = TokenPack(
        torch.cat([pack.tokens[starts[i] : starts[i + 1]] for i in reversed(range(len(pack)))]),
        pack.lengths[::-1].copy(),
    )
    return {
        "least cosine to float32": _least_cosine(found, reference),
        "least cosine alone against packed": _least_cosine(alone, found[list(chosen)]),
        "largest difference alone against packed": (alone - found[list(chosen)]).abs().max().item(),
        "largest difference in the other order": (encoder.embed(turned).flip(0) - found).abs().max().item(),
        "equal bits when done again": float(torch.equal(encoder.embed(pack), found)),
    }


def _least_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return functional.cosine_similarity(one.double(), other.double(), dim=1).min().item()
