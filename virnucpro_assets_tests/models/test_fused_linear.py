"""Products in one kernel against torch's own operators, and weights that were laid out for it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from virnucpro_assets.models.attention import (
    PairedRotary,
    Rotary,
    attend_dense_runs,
    pairs_side_by_side,
    rotary_frequencies,
)
from virnucpro_assets.models.fused_linear import FusedGatedLinear, FusedLinear, prepack_weights
from virnucpro_assets.models.packs import TokenPack


def random_product(
    kind: type[FusedLinear] | type[FusedGatedLinear], dtype: torch.dtype
) -> FusedLinear | FusedGatedLinear:
    torch.manual_seed(1)
    return kind(48, 96).requires_grad_(False).to(dtype)


def rows_of(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(37, 48, generator=torch.Generator().manual_seed(2)).to(dtype)


def packed(product: FusedLinear | FusedGatedLinear) -> FusedLinear | FusedGatedLinear:
    prepack_weights(nn.ModuleList([product]))
    return product


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("with_sum", [False, True])
def test_a_packed_product_is_linear_then_gelu_then_sum(gelu: bool, with_sum: bool) -> None:
    product, rows = random_product(FusedLinear, torch.float32), rows_of(torch.float32)
    added = torch.randn(37, 96) if with_sum else None
    expected = functional.linear(rows.double(), product.weight.double(), product.bias.double())
    expected = functional.gelu(expected) if gelu else expected
    expected = expected if added is None else expected + added.double()
    assert float((product(rows, gelu=gelu, added=added) - expected).abs().max()) <= 1e-6
    assert float((packed(product)(rows, gelu=gelu, added=added) - expected).abs().max()) <= 1e-6


def test_a_packed_gate_is_gelu_of_one_half_times_the_other() -> None:
    product, rows = random_product(FusedGatedLinear, torch.float32), rows_of(torch.float32)
    gate, value = functional.linear(rows.double(), product.weight.double()).chunk(2, dim=1)
    expected = functional.gelu(gate) * value
    assert float((product(rows) - expected).abs().max()) <= 1e-6
    assert float((packed(product)(rows) - expected).abs().max()) <= 1e-6


def test_what_is_added_is_left_as_it_was() -> None:
    product, rows = packed(random_product(FusedLinear, torch.float32)), rows_of(torch.float32)
    added = torch.ones(37, 96)
    product(rows, added=added)
    assert bool((added == 1).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [FusedLinear, FusedGatedLinear])
def test_a_lower_precision_gives_its_own_dtype_and_stays_close(
    kind: type[FusedLinear] | type[FusedGatedLinear], dtype: torch.dtype
) -> None:
    product, rows = random_product(kind, dtype), rows_of(dtype)
    expected = random_product(kind, torch.float32)(rows_of(torch.float32))
    out = packed(product)(rows)
    assert out.dtype == dtype
    assert float((out.float() - expected).abs().max()) <= 0.02


def test_a_number_of_rows_gives_the_same_whatever_rows_stand_beside() -> None:
    product, rows = packed(random_product(FusedLinear, torch.float32)), rows_of(torch.float32)
    assert float((product(rows)[:5] - product(rows[:5])).abs().max()) <= 1e-6


def test_packed_weights_are_kept_once() -> None:
    product = packed(random_product(FusedLinear, torch.float32))
    assert product.prepacked is not None
    assert [name for name, _ in product.named_parameters()] == ["bias"]


def test_weights_elsewhere_than_on_a_cpu_are_left_alone() -> None:
    product = packed(random_product(FusedLinear, torch.float32).to("meta"))
    assert product.prepacked is None
    assert product(torch.empty(3, 48, device="meta")).shape == (3, 96)


def test_pairs_side_by_side_turn_as_halves_do() -> None:
    heads, head_width = 3, 8
    lengths = np.array([5, 5, 2])
    pack = TokenPack(torch.zeros(12, dtype=torch.int64), lengths)
    projections = torch.randn(3, heads * head_width, 6, generator=torch.Generator().manual_seed(3))
    rows, frequencies = torch.randn(12, 6), rotary_frequencies(head_width)
    halves = (rows @ projections.flatten(0, 1).T).view(12, 3, heads, head_width)
    for one in projections[:2]:
        one.copy_(pairs_side_by_side(one, heads))
    pairs = (rows @ projections.flatten(0, 1).T).view(12, 3, heads, head_width)
    expected = attend_dense_runs(Rotary.of(pack, frequencies, torch.float32).apply(halves), pack, None)
    found = attend_dense_runs(PairedRotary.of(pack, frequencies, heads).apply(pairs), pack, None)
    assert float((found - expected).abs().max()) <= 1e-5


def test_turning_pairs_of_a_lower_precision_gives_float32() -> None:
    pack = TokenPack(torch.zeros(4, dtype=torch.int64), np.array([4]))
    qkv = torch.randn(4, 3, 2, 6).bfloat16()
    rotated = PairedRotary.of(pack, rotary_frequencies(6), 2).apply(qkv)
    assert rotated.dtype == torch.float32
    assert torch.equal(rotated[:, 2], qkv[:, 2].float())
    assert torch.equal(rotated[0], qkv[0].float())
