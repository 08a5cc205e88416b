"""Fused models against plain ones, with plain PyTorch in the place of the kernels, which need a GPU."""

import sys

import numpy as np
import pytest
import torch

from benchmarks.gpu import plain_kernels
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.dnabert_s import DnabertS
from virnucpro_assets.models.esm2 import Esm2
from virnucpro_assets.models.loading import random_weights
from virnucpro_assets.models.packs import TokenPack

PACK = TokenPack(torch.arange(17) % 24, np.array([9, 4, 4], np.int64))
ESM2 = Esm2Config(num_hidden_layers=3, hidden_size=32, num_attention_heads=4)
DNABERT_S = DnabertSConfig(
    num_hidden_layers=3, hidden_size=24, num_attention_heads=3, intermediate_size=40, vocab_size=64
)


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "virnucpro_assets.models.gpu_kernels", plain_kernels)


def test_a_fused_esm2_gives_what_the_plain_one_gives() -> None:
    plain, fused = (
        Esm2.from_published(ESM2, random_weights(ESM2, seed=3), fused=fused) for fused in (False, True)
    )
    torch.testing.assert_close(fused(PACK), plain(PACK), rtol=0, atol=4e-6)


def test_a_fused_dnabert_s_gives_what_the_plain_one_gives() -> None:
    plain, fused = (
        DnabertS.from_published(DNABERT_S, random_weights(DNABERT_S, seed=3), fused=fused)
        for fused in (False, True)
    )
    torch.testing.assert_close(fused(PACK), plain(PACK), rtol=0, atol=4e-6)


def test_a_fused_model_can_be_asked_twice() -> None:
    # Its kernels write in place: what a pack leaves behind must not reach the next one.
    fused = Esm2.from_published(ESM2, random_weights(ESM2, seed=3), fused=True)
    assert torch.equal(fused(PACK), fused(PACK))
