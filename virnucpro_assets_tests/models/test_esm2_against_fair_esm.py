"""The packed ESM-2 against fair-esm's own module with the same random weights."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from esm.model.esm2 import ESM2

from virnucpro_assets.models import esm2
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.loading import DTYPES, random_weights
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.tokenisers import tokenise_proteins
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import Attention, Precision

SHAPES = [(6, 320, 20), (3, 64, 4), (2, 480, 20)]
AMINO_ACIDS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)


def proteins(lengths: list[int], seed: int = 0) -> Ragged:
    generator = np.random.default_rng(seed)
    return Ragged.from_strings(generator.choice(AMINO_ACIDS, n).tobytes() for n in lengths)


@cache
def encoder(shape: tuple[int, int, int], precision: Precision = "float32") -> PackedEncoder:
    layers, width, heads = shape
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    state = {
        name: tensor.to(DTYPES[precision]) for name, tensor in random_weights(config, seed=layers).items()
    }
    model = esm2.Esm2.from_published(config, state)
    return PackedEncoder(
        "esm2", width, precision, torch.device("cpu"), model, tokenise_proteins, excluded_special_tokens=1
    )


@cache
def reference(shape: tuple[int, int, int]) -> ESM2:
    layers, width, heads = shape
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    model = ESM2(layers, width, heads).eval()
    left_out = model.load_state_dict(random_weights(config, seed=layers), strict=False)
    assert left_out.unexpected_keys == []
    missing = [name for name in left_out.missing_keys if not name.endswith(".rot_emb.inv_freq")]
    assert all(esm2.is_ignored(name) for name in missing)
    return model


@torch.no_grad()
def represented(shape: tuple[int, int, int], ids: npt.NDArray[np.int32]) -> torch.Tensor:
    tokens = torch.from_numpy(ids.astype(np.int64))[None]
    hidden: torch.Tensor = reference(shape)(tokens, repr_layers=[shape[0]])["representations"][shape[0]][0]
    return hidden


def embedded(
    tokens: Tokens, order: list[int], shape: tuple[int, int, int] = SHAPES[1]
) -> npt.NDArray[np.float64]:
    """float64 [len(order), width]: the embeddings of one pack of the sequences at `order`."""
    pack = TokenPack.from_tokens(tokens.take(np.array(order)))
    return encoder(shape).embed(pack).numpy().astype(np.float64)


def assert_same_embeddings(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> None:
    assert np.abs(one - other).max() <= 5e-6
    assert smallest_cosine(one, other) >= 1 - 1e-7


def smallest_cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / norms).min())


@pytest.mark.parametrize("shape", SHAPES)
def test_representations_and_means_are_those_of_fair_esm(shape: tuple[int, int, int]) -> None:
    tokens = tokenise_proteins(proteins([1, 1022, 3, 3, 166, 100, 100, 2, 57]))
    pack = TokenPack.from_tokens(tokens)
    hidden = encoder(shape).model(pack).split(pack.lengths.tolist())
    means = encoder(shape).embed(pack)
    for number, ours in enumerate(hidden):
        ids = tokens.data[tokens.offsets[number] : tokens.offsets[number + 1]]
        expected = represented(shape, ids)
        assert float((ours - expected).abs().max()) <= 1e-5
        assert float((means[number] - expected[1:-1].mean(0)).abs().max()) <= 1e-5


def test_neighbours_do_not_change_an_embedding() -> None:
    tokens = tokenise_proteins(proteins([1, 40, 40, 40, 7, 166, 99, 99, 1, 1022, 165], seed=3))
    alone = np.concatenate([embedded(tokens, [number]) for number in range(len(tokens))])
    generator = np.random.default_rng(4)
    for _ in range(10):
        order = generator.permutation(len(tokens)).tolist()
        assert_same_embeddings(embedded(tokens, order), alone[order])


@pytest.mark.parametrize("budget", [64, 300, 1000, 10_000])
def test_the_token_budget_does_not_change_an_embedding(budget: int) -> None:
    lengths = sorted(np.random.default_rng(5).integers(20, 60, 80).tolist(), reverse=True)
    tokens = tokenise_proteins(proteins(lengths, seed=6))
    alone = np.concatenate([embedded(tokens, [number]) for number in range(len(tokens))])
    pack_of = np.cumsum(tokens.lengths) // budget
    packs = [np.flatnonzero(pack_of == pack).tolist() for pack in np.unique(pack_of)]
    assert_same_embeddings(np.concatenate([embedded(tokens, pack) for pack in packs]), alone)


def test_the_other_sequences_of_a_pack_are_not_seen() -> None:
    first = tokenise_proteins(proteins([50, 50, 50], seed=7))
    second = tokenise_proteins(proteins([50, 50, 50], seed=8))
    second.data[:52] = first.data[:52]
    assert_same_embeddings(embedded(first, [0, 1, 2])[:1], embedded(second, [0, 1, 2])[:1])


def test_reading_backwards_gives_another_embedding() -> None:
    protein = proteins([30], seed=9)[0]
    both = embedded(tokenise_proteins(Ragged.from_strings([protein, protein[::-1]])), [0, 1])
    assert np.abs(both[0] - both[1]).max() > 1e-2


@pytest.mark.parametrize(("precision", "cosine"), [("bfloat16", 0.999), ("float16", 0.99999)])
def test_lower_precisions_stay_close_to_float32(precision: Precision, cosine: float) -> None:
    pack = TokenPack.from_tokens(tokenise_proteins(proteins([166, 100, 100, 57, 3, 1], seed=10)))
    lower = encoder(SHAPES[0], precision)
    assert lower.model(pack).dtype == DTYPES[precision]
    means = lower.embed(pack)
    assert means.dtype == torch.float32
    exact = encoder(SHAPES[0]).embed(pack)
    assert not torch.equal(means, exact)
    assert smallest_cosine(means.double().numpy(), exact.double().numpy()) >= cosine


def test_an_empty_pack_has_no_embeddings() -> None:
    pack = TokenPack(torch.empty(0, dtype=torch.int64), np.empty(0, np.int64))
    assert encoder(SHAPES[1]).embed(pack).shape == (0, 64)


@pytest.mark.parametrize("attention", ["dense-runs", "plain"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 2], [1, 3]])
def test_an_empty_protein_is_zeros_and_changes_no_other(order: list[int], attention: Attention) -> None:
    config = Esm2Config(num_hidden_layers=2, hidden_size=64, num_attention_heads=4)
    model = esm2.Esm2.from_published(config, random_weights(config, seed=2), attention)
    pieces = None if attention == "dense-runs" else 1
    found = PackedEncoder("esm2", 64, "float32", torch.device("cpu"), model, tokenise_proteins, 1, pieces)
    sequences = [proteins([30], seed=11)[0], b"", proteins([1], seed=12)[0], b"", proteins([30], seed=13)[0]]
    tokens = tokenise_proteins(Ragged.from_strings(sequences))
    means = found.embed(TokenPack.from_tokens(tokens.take(np.array(order)))).numpy()
    for place, number in enumerate(order):
        if not sequences[number]:
            assert not means[place].any()
        else:
            alone = found.embed(TokenPack.from_tokens(tokens.take(np.array([number])))).numpy()
            np.testing.assert_allclose(means[place], alone[0], rtol=0, atol=5e-6)
            assert means[place].any()
