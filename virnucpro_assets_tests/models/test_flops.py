"""Counts of operations against published figures, and against torch's own counter."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from virnucpro_assets.models import dnabert_s, esm2
from virnucpro_assets.models.configs import (
    DnabertSConfig,
    EncoderConfig,
    Esm2Config,
    count_flops,
    flops_per_token,
)
from virnucpro_assets.models.loading import random_weights
from virnucpro_assets.models.packs import TokenPack

ESM2_3B = Esm2Config(num_hidden_layers=36, hidden_size=2560, num_attention_heads=40)
DNABERT_S = DnabertSConfig(
    num_hidden_layers=12, hidden_size=768, num_attention_heads=12, intermediate_size=3072, vocab_size=4096
)
SMALL_ESM2 = Esm2Config(num_hidden_layers=2, hidden_size=32, num_attention_heads=4)
SMALL_DNA = DnabertSConfig(
    num_hidden_layers=3, hidden_size=24, num_attention_heads=12, intermediate_size=40, vocab_size=64
)


@pytest.mark.parametrize(("config", "flops"), [(ESM2_3B, 5_662_310_400), (DNABERT_S, 226_492_416)])
def test_a_token_costs_what_is_published(config: EncoderConfig, flops: int) -> None:
    assert flops_per_token(config) == flops


@pytest.mark.parametrize(("length", "share"), [(50, 0.0033), (170, 0.0111)])
def test_attention_adds_little_at_the_lengths_of_reads(length: int, share: float) -> None:
    counted = count_flops(ESM2_3B, np.array([length, length]))
    assert counted.attention / counted.matrices == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("config", [SMALL_ESM2, SMALL_DNA])
def test_the_counts_are_those_of_torch(config: EncoderConfig) -> None:
    lengths = np.array([9, 9, 5, 1])
    # Tensors without content: the counter knows torch's own products, not the fused kernels of a CPU.
    pack = TokenPack(torch.empty(int(lengths.sum()), dtype=torch.int64, device="meta"), lengths)
    state = {name: tensor.to("meta") for name, tensor in random_weights(config, seed=1).items()}
    model = (
        esm2.Esm2.from_published(config, state)
        if isinstance(config, Esm2Config)
        else dnabert_s.DnabertS.from_published(config, state)
    )
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(pack)
    assert count_flops(config, lengths).total == counter.get_total_flops()


def test_no_sequences_cost_nothing() -> None:
    assert count_flops(SMALL_ESM2, np.empty(0, np.int64)).total == 0
