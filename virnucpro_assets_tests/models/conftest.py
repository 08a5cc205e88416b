"""Small encoders with random weights, for every test of the models."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import random_weights, save_encoder
from virnucpro_assets.sequences.ragged import Ragged


def random_letters(alphabet: str, lengths: list[int], seed: int) -> Ragged:
    generator = np.random.default_rng(seed)
    letters = np.frombuffer(alphabet.encode(), np.uint8)
    return Ragged.from_strings(generator.choice(letters, n).tobytes() for n in lengths)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small products gain nothing from threads, and on a busy machine they wait for each other."""
    limit_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-pair tokeniser of DNA with the post-processor that the published file has."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=64, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], show_progress=False
    )
    texts = random_letters("ACGT", [200] * 50, seed=5)
    tokenizer.train_from_iterator((texts[i].decode() for i in range(len(texts))), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))],
    )
    return tokenizer


@pytest.fixture
def esm2_folder(tmp_path: Path) -> Path:
    config = Esm2Config(num_hidden_layers=2, hidden_size=32, num_attention_heads=4)
    return save_encoder(tmp_path / "esm2", config, random_weights(config, seed=1)).path


@pytest.fixture
def dnabert_s_folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    config = DnabertSConfig(
        num_hidden_layers=2, hidden_size=48, num_attention_heads=12, intermediate_size=96, vocab_size=64
    )
    weights = random_weights(config, seed=2)
    return save_encoder(tmp_path / "dna", config, weights, tokenizer_json=tokenizer.to_str()).path
