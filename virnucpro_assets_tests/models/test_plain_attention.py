"""Plain attention, one sequence at a time: the numbers of fair-esm and of the original's loop over DNA."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tokenizers import Tokenizer

from benchmarks.baselines import dnabert_s_loop, esm2_loop
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER
from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.loading import load_encoder, random_weights, save_encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets_tests.models.conftest import random_letters

LENGTHS = [50, 1, 49, 50, 166, 100, 100, 2, 333]


@pytest.mark.parametrize(("layers", "width", "heads"), [(6, 320, 20), (4, 480, 20), (33, 64, 4)])
def test_plain_embeddings_of_proteins_are_those_of_fair_esm(
    tmp_path: Path, layers: int, width: int, heads: int
) -> None:
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    state = random_weights(config, seed=1)
    encoder = load_encoder(save_encoder(tmp_path, config, state).path, attention="plain")
    proteins = random_letters("ACDEFGHIKLMNPQRSTVWY", LENGTHS, seed=2)
    model = esm2_loop.build_model(config, state)
    expected = [
        esm2_loop.embed_proteins(model, [proteins[place].decode()])[0] for place in range(len(proteins))
    ]
    found = embed_sequences(encoder, proteins, 1024).embeddings
    assert np.abs(found - np.stack(expected)).max() <= 1e-6


def test_plain_embeddings_of_dna_are_those_of_the_original_loop() -> None:
    config = read_config(DNABERT_S_FOLDER)
    assert isinstance(config, DnabertSConfig)
    sequences = random_letters("ACGT", LENGTHS, seed=3)
    found = embed_sequences(load_encoder(DNABERT_S_FOLDER, attention="plain"), sequences, 1024).embeddings
    model = dnabert_s_loop.PlainBert.of(config, load_file(DNABERT_S_FOLDER / "model.safetensors"))
    tokenizer = Tokenizer.from_file(str(DNABERT_S_FOLDER / "tokenizer.json"))
    texts = [sequences[place].decode() for place in range(len(sequences))]
    assert np.abs(found - dnabert_s_loop.embed_nucleotides(model, tokenizer, texts)).max() <= 1e-6


def test_a_sequence_has_the_same_bits_whatever_is_in_its_pack(esm2_folder: Path) -> None:
    encoder = load_encoder(esm2_folder, attention="plain")
    tokens = encoder.tokenise(random_letters("ACDEFGHIKLMNPQRSTVWY", LENGTHS, seed=4))
    alone = [encoder.embed(TokenPack.from_tokens(tokens.take(np.array([place])))) for place in range(9)]
    order = [3, 0, 8, 8, 1, 5]
    together = encoder.embed(TokenPack.from_tokens(tokens.take(np.array(order))))
    assert np.array_equal(together.numpy(), np.concatenate([alone[place].numpy() for place in order]))


def test_plain_and_packed_embeddings_agree(esm2_folder: Path, dnabert_s_folder: Path) -> None:
    for folder, letters in ((esm2_folder, "ACDEFGHIKLMNPQRSTVWY"), (dnabert_s_folder, "ACGT")):
        sequences: Ragged = random_letters(letters, LENGTHS, seed=5)
        plain = embed_sequences(load_encoder(folder, attention="plain"), sequences, 1024).embeddings
        packed = embed_sequences(load_encoder(folder), sequences, 1024).embeddings
        assert 0 < np.abs(plain - packed).max() <= 5e-6
