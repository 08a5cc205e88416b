"""An encoder with random weights and its original's loop, over the same sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from benchmarks.baselines import dnabert_s_loop, esm2_loop
from benchmarks.cpu_slots import CpuSlots
from benchmarks.sample_sequences import Mixture, candidates_in, sample_of
from tools.demo.tokenizer import learn_tokenizer
from virnucpro_assets.demo.excerpts import read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.models.configs import DnabertSConfig, EncoderConfig, Esm2Config, count_flops
from virnucpro_assets.models.loading import load_encoder, random_weights, save_encoder
from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.models.weights import State
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import Precision

TOKEN_BUDGET = 8192
LEARNED_TOKENS = 1024
"""Of a tokeniser learned from the excerpts: so many make a token of about 5 bases, as the published ones are."""

Rows = npt.NDArray[np.float32]
Embed = Callable[[], Rows]


@dataclass(frozen=True)
class Contest:
    """The original's loop, our engine by precision, the operations they take, and what they are given."""

    original: Embed
    ours: dict[Precision, Embed]
    operations: int
    figures: dict[str, float]


def make_contest(
    config: EncoderConfig,
    mixture: Mixture,
    precisions: list[Precision],
    tokens: int,
    folder: Path,
    *,
    slots: CpuSlots | None = None,
) -> Contest:
    """Write the model folder of an encoder, load both sides, and choose about `tokens` tokens.

    Our engine runs in `slots` if there are any, else in this process.
    """
    state = random_weights(config, seed=3)
    words = None
    if isinstance(config, DnabertSConfig):
        words = learn_tokenizer(read_excerpts(DATA_FOLDER, "training"), LEARNED_TOKENS)
    save_encoder(folder, config, state, tokenizer_json=words)
    encoders = {precision: load_encoder(folder, precision=precision) for precision in precisions}
    candidates = candidates_in(mixture)
    sequences = candidates.proteins if words is None else candidates.nucleotides
    lengths = encoders[precisions[0]].tokenise(sequences).lengths
    chosen = sample_of(lengths, tokens)
    figures: dict[str, float] = {"sequences": len(chosen), "tokens": int(lengths[chosen].sum())}
    texts = [sequences[place].decode("ascii") for place in chosen.tolist()]
    if isinstance(config, Esm2Config):
        padded = sum(count * longest for count, longest in esm2_loop.batches_of(texts))
        figures["original_padding"] = round(1 - figures["tokens"] / padded, 4)
    taken = sequences.take(chosen)
    ours = {precision: _ours(encoder, taken) for precision, encoder in encoders.items()}
    if slots is not None:
        ours = slots.load(folder, precisions, taken, TOKEN_BUDGET)
    return Contest(
        original=_original(config, state, words, texts),
        ours=ours,
        operations=count_flops(config, lengths[chosen]).total,
        figures=figures,
    )


def _original(config: EncoderConfig, state: State, words: str | None, texts: list[str]) -> Embed:
    if isinstance(config, Esm2Config):
        esm = esm2_loop.build_model(config, state)
        return lambda: esm2_loop.embed_proteins(esm, texts)
    bert, tokenizer = dnabert_s_loop.PlainBert.of(config, state), Tokenizer.from_str(words)
    return lambda: dnabert_s_loop.embed_nucleotides(bert, tokenizer, texts)


def _ours(encoder: Encoder, sequences: Ragged) -> Embed:
    return lambda: embed_sequences(encoder, sequences, TOKEN_BUDGET).embeddings
