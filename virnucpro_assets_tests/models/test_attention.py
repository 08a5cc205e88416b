"""The kernels of attention and the two forms of the parts around them, against one another."""

import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from virnucpro_assets.models.attention import (
    Alibi,
    Rotary,
    apply_rotary,
    attend_dense_runs,
    attend_flash,
    attend_varlen,
    rotary_frequencies,
)
from virnucpro_assets.models.dnabert_s import alibi_slopes
from virnucpro_assets.models.packs import TokenPack

HEADS, WIDTH = 4, 8


def pack_of(*lengths: int) -> TokenPack:
    return TokenPack(torch.arange(sum(lengths)) % 24, np.array(lengths, np.int64))


def random_qkv(pack: TokenPack) -> torch.Tensor:
    return torch.randn(len(pack.tokens), 3, HEADS, WIDTH, generator=torch.Generator().manual_seed(4))


def looked_at_one_by_one(qkv: torch.Tensor, pack: TokenPack, slopes: torch.Tensor | None) -> torch.Tensor:
    """softmax(q·k / sqrt(width) − slope · |i − j|) · v of each sequence and head, as the papers write it."""
    bounds, rows = pack.bounds.tolist(), []
    for start, stop in pairwise(bounds):
        query, key, value = qkv[start:stop].permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) / WIDTH**0.5
        if slopes is not None:
            places = torch.arange(stop - start)
            scores = scores - slopes[:, None, None] * (places[:, None] - places[None]).abs()
        rows.append((functional.softmax(scores, dim=-1) @ value).transpose(0, 1).flatten(1))
    return torch.cat(rows)


@pytest.mark.parametrize("with_biases", [False, True])
def test_dense_runs_give_what_the_formula_gives(with_biases: bool) -> None:
    pack = pack_of(5, 5, 3, 7, 7, 7, 1)
    slopes = torch.tensor(alibi_slopes(HEADS)) if with_biases else None
    alibi = Alibi.up_to(slopes, pack.longest, torch.float32) if slopes is not None else None
    qkv = random_qkv(pack)
    torch.testing.assert_close(
        attend_dense_runs(qkv, pack, alibi), looked_at_one_by_one(qkv, pack, slopes), rtol=0, atol=2e-6
    )


def test_the_bounds_of_a_pack_are_where_its_sequences_start_and_its_total() -> None:
    bounds = pack_of(5, 3, 7).bounds
    assert (bounds.dtype, bounds.tolist()) == (torch.int32, [0, 5, 8, 15])


def test_varlen_attention_refuses_biases() -> None:
    pack = pack_of(2)
    alibi = Alibi.up_to(torch.tensor(alibi_slopes(HEADS)), 2, torch.float32)
    with pytest.raises(ValueError, match="takes no biases"):
        attend_varlen(random_qkv(pack), pack, alibi)


@pytest.mark.parametrize("with_biases", [False, True])
def test_flash_attn_is_given_bounds_longest_and_slopes(
    monkeypatch: pytest.MonkeyPatch, with_biases: bool
) -> None:
    pack = pack_of(5, 3)
    slopes = torch.tensor(alibi_slopes(HEADS)) if with_biases else None
    alibi = Alibi.up_to(slopes, pack.longest, torch.float32) if slopes is not None else None

    def varlen_qkvpacked(qkv: Any, bounds: Any, longest: int, *, alibi_slopes: Any) -> torch.Tensor:
        assert (bounds.tolist(), longest) == ([0, 5, 8], 5)
        return looked_at_one_by_one(qkv, pack, alibi_slopes).view(-1, HEADS, WIDTH)

    # The package needs a GPU to be installed; its stand-in computes by the formula.
    package = ModuleType("flash_attn")
    package.flash_attn_varlen_qkvpacked_func = varlen_qkvpacked  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    qkv = random_qkv(pack)
    torch.testing.assert_close(
        attend_flash(qkv, pack, alibi), attend_dense_runs(qkv, pack, alibi), rtol=0, atol=2e-6
    )


def test_turning_in_place_and_as_a_new_tensor_are_the_same() -> None:
    pack = pack_of(9, 4, 4)
    rotary, qkv = Rotary.of(pack, rotary_frequencies(WIDTH), torch.float32), random_qkv(pack)
    new = apply_rotary(qkv, rotary.cos, rotary.sin)
    assert not torch.equal(new, qkv)
    torch.testing.assert_close(new, rotary.apply(qkv.clone()), rtol=0, atol=1e-6)
