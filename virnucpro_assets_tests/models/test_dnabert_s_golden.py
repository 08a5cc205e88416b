"""The packed DNABERT-S against hidden states from an independent implementation."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from virnucpro_assets.models import dnabert_s
from virnucpro_assets.models.configs import DnabertSConfig
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.weights import read_weights
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import Precision

GOLDEN = Path(__file__).parent.parent / "golden" / "dnabert_s"


def no_tokeniser(sequences: Ragged) -> Tokens:
    raise AssertionError("the golden tokens are given; nothing is tokenised")


@cache
def encoder(precision: Precision = "float32") -> PackedEncoder:
    config = DnabertSConfig.model_validate_json((GOLDEN / "config.json").read_bytes())
    state = read_weights(
        GOLDEN / "model.safetensors",
        dnabert_s.published_shapes(config),
        ignored=dnabert_s.is_ignored,
        dtype=DTYPES[precision],
        device="cpu",
    )
    model = dnabert_s.DnabertS.from_published(config, state)
    width = config.hidden_size
    return PackedEncoder(
        "dnabert_s", width, precision, torch.device("cpu"), model, no_tokeniser, excluded_special_tokens=0
    )


@cache
def inputs() -> Tokens:
    ids = json.loads((GOLDEN / "inputs.json").read_text())["input_ids"]
    return Tokens.from_lengths(np.concatenate(ids).astype(np.int32), np.array([len(some) for some in ids]))


@cache
def expected() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


def smallest_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one.double(), other.double(), dim=1).min())


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 3, 4, 2, 1, 0], [3, 0, 4, 6, 1, 2, 5, 0, 3]])
def test_hidden_states_and_means_are_the_golden_ones_in_any_order(order: list[int]) -> None:
    pack = TokenPack.from_tokens(inputs().take(np.array(order)))
    hidden = encoder().model(pack).split(pack.lengths.tolist())
    for number, ours in zip(order, hidden, strict=True):
        assert float((ours - expected()[f"hidden_{number}"]).abs().max()) <= 1e-5
    assert float((encoder().embed(pack) - expected()["mean"][order]).abs().max()) <= 1e-5


def test_neighbours_do_not_change_an_embedding() -> None:
    tokens = inputs()
    alone = torch.cat([encoder().embed(TokenPack.from_tokens(tokens.take(np.array([i])))) for i in range(7)])
    generator = np.random.default_rng(1)
    for _ in range(10):
        order = generator.integers(0, 7, 12)
        together = encoder().embed(TokenPack.from_tokens(tokens.take(order)))
        assert float((together.double() - alone[order].double()).abs().max()) <= 5e-6
        assert smallest_cosine(together, alone[order]) >= 1 - 1e-7


@pytest.mark.parametrize(("precision", "cosine"), [("bfloat16", 0.999), ("float16", 0.99999)])
def test_lower_precisions_stay_close_to_the_golden_means(precision: Precision, cosine: float) -> None:
    pack = TokenPack.from_tokens(inputs())
    assert encoder(precision).model(pack).dtype == DTYPES[precision]
    means = encoder(precision).embed(pack)
    assert means.dtype == torch.float32
    assert smallest_cosine(means, expected()["mean"]) >= cosine


STEEP = [2.0**-k for k in range(1, 9)]


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [2.0**-8]),
        (8, STEEP),
        # Every other slope of sixteen fills up.
        (12, [*STEEP, 2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]),
    ],
)
def test_slopes_are_geometric_and_interleaved_where_the_heads_are_no_power_of_two(
    heads: int, slopes: list[float]
) -> None:
    assert dnabert_s.alibi_slopes(heads) == slopes
