"""The original's loops, restated: equal to the golden files and to the engine."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from benchmarks.baselines import dnabert_s_loop, esm2_loop
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER
from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.loading import load_encoder, random_weights, save_encoder
from virnucpro_assets.sequences.ragged import Ragged

GOLDEN = Path(__file__).parent.parent / "golden" / "dnabert_s"


def random_strings(alphabet: str, lengths: list[int], seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list(alphabet), length)) for length in lengths]


def test_the_loop_over_proteins_gives_the_embeddings_of_the_engine(tmp_path: Path) -> None:
    config = Esm2Config(num_hidden_layers=3, hidden_size=64, num_attention_heads=4)
    state = random_weights(config, seed=1)
    encoder = load_encoder(save_encoder(tmp_path / "esm2", config, state).path)
    proteins = random_strings("ACDEFGHIKLMNPQRSTVWY", [50, 3, 100, 100, 1, 49, 50, 166, *[99] * 30], seed=2)
    original = esm2_loop.embed_proteins(esm2_loop.build_model(config, state), proteins)
    ours = embed_sequences(encoder, Ragged.from_strings(p.encode() for p in proteins), 1024).embeddings
    assert np.abs(original - ours).max() <= 5e-6


def test_the_loop_over_dna_gives_the_golden_hidden_states() -> None:
    config = DnabertSConfig.model_validate_json((GOLDEN / "config.json").read_bytes())
    model = dnabert_s_loop.PlainBert.of(config, load_file(GOLDEN / "model.safetensors"))
    inputs = json.loads((GOLDEN / "inputs.json").read_text())["input_ids"]
    expected = load_file(GOLDEN / "expected.safetensors")
    for number, ids in enumerate(inputs):
        hidden = model.hidden_states(torch.tensor([ids]))[0]
        assert float((hidden - expected[f"hidden_{number}"]).abs().max()) <= 1e-5
        assert float((hidden.mean(dim=0) - expected["mean"][number]).abs().max()) <= 1e-5


def test_the_loop_over_dna_gives_the_embeddings_of_the_engine() -> None:
    config = read_config(DNABERT_S_FOLDER)
    assert isinstance(config, DnabertSConfig)
    model = dnabert_s_loop.PlainBert.of(config, load_file(DNABERT_S_FOLDER / "model.safetensors"))
    tokenizer = Tokenizer.from_file(str(DNABERT_S_FOLDER / "tokenizer.json"))
    sequences = random_strings("ACGT", [150, 30, 301, 4, 150, 299], seed=3)
    original = dnabert_s_loop.embed_nucleotides(model, tokenizer, sequences)
    encoder = load_encoder(DNABERT_S_FOLDER)
    ours = embed_sequences(encoder, Ragged.from_strings(s.encode() for s in sequences), 1024).embeddings
    assert np.abs(original - ours).max() <= 5e-6
