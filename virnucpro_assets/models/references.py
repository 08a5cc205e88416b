"""Reference embeddings of an encoder, computed without any code of the packed models.

One sequence at a time, in float32: ESM-2 by fair-esm's own module, DNABERT-S by the formulas of its papers, with
attention as an explicit softmax. Both use the weights of the model folder, so only the computation is compared;
digests show whether the weights are the published ones. The sequences are fixed, from one residue or three bases to a
chunk of 500.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from esm.model.esm2 import ESM2
from torch.nn import functional

from virnucpro_assets.models import dnabert_s, esm2
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.encoders import TOKENIZER_FILE
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_config
from virnucpro_assets.models.tokenisers import DnaTokenizer, tokenise_proteins
from virnucpro_assets.models.weights import State, read_weights
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import EncoderKind

# Human ubiquitin (UniProt P0CG48, residues 1 to 76) and all letters of the alphabet.
_PROTEIN = b"MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
_RESIDUES = b"ACDEFGHIKLMNPQRSTVWYXBUZO"
# The first bases of phage lambda (GenBank J02459).
_DNA = b"GGGCGGCGACCTCGCGGGTTTTCGCTATTTATGAAAATTTTCCGGTTTAAGGCGTTTCCGTTCTTCTTCGTCATAACTTAATG"

PROTEINS = Ragged.from_strings(
    [_PROTEIN[:1], _RESIDUES, _PROTEIN, _PROTEIN[::-1] + _PROTEIN[:24], _PROTEIN * 2]
)
NUCLEOTIDES = Ragged.from_strings([_DNA[:3], _DNA, _DNA[::-1] * 2, (_DNA * 4)[:300], (_DNA[::-1] * 7)[:500]])

Embeddings = npt.NDArray[np.float32]


def reference_embeddings(folder: Path) -> Embeddings:
    """float32 [sequences, width]: the embeddings of an encoder's fixed sequences by its reference, on the CPU.

    It needs the memory of the weights in float32. Raises IntegrityError if the folder is damaged.
    """
    config = read_config(folder)
    return REFERENCES[config.kind].embed(folder, config)


@torch.inference_mode()
def _esm2_reference(folder: Path, config: Esm2Config) -> Embeddings:
    model = _fair_esm(folder, config)
    tokens = tokenise_proteins(PROTEINS)
    last, rows = config.num_hidden_layers, []
    for first, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        ids = torch.from_numpy(tokens.data[first:end].astype(np.int64))[None]
        hidden = model(ids, repr_layers=[last])["representations"][last][0]
        rows.append(hidden[1:-1].mean(dim=0).numpy())
    return np.stack(rows)


def _fair_esm(folder: Path, config: Esm2Config) -> ESM2:
    """fair-esm's module with the folder's weights; without its heads, which no embedding needs."""
    with torch.device("meta"):
        model = ESM2(config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    model.lm_head, model.contact_head = torch.nn.Identity(), torch.nn.Identity()
    state = read_weights(
        folder / WEIGHTS_FILE,
        esm2.published_shapes(config),
        optional=esm2.optional_shapes(config),
        ignored=esm2.is_ignored,
        dtype=torch.float32,
        device="cpu",
    )
    frequencies = state.pop(esm2.FREQUENCIES, None)
    if frequencies is None:
        # As fair-esm computes them where it has no file.
        frequencies = 1.0 / (10000 ** (torch.arange(0, config.head_width, 2).float() / config.head_width))
    for number in range(config.num_hidden_layers):
        state[f"layers.{number}.self_attn.rot_emb.inv_freq"] = frequencies
    model.load_state_dict(state, assign=True)
    return model.eval()


@torch.inference_mode()
def _dnabert_s_reference(folder: Path, config: DnabertSConfig) -> Embeddings:
    state = read_weights(
        folder / WEIGHTS_FILE,
        dnabert_s.published_shapes(config),
        ignored=dnabert_s.is_ignored,
        dtype=torch.float32,
        device="cpu",
    )
    tokens = DnaTokenizer(folder / TOKENIZER_FILE, vocabulary=config.vocab_size)(NUCLEOTIDES)
    return np.stack(
        [
            _plain_dnabert_s(state, config, torch.from_numpy(tokens.data[first:end].astype(np.int64)))
            .mean(dim=0)
            .numpy()
            for first, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
        ]
    )


def _plain_dnabert_s(state: State, config: DnabertSConfig, ids: torch.Tensor) -> torch.Tensor:
    """[tokens, width]: the hidden states of one sequence."""
    heads, length = config.num_attention_heads, len(ids)
    slopes = torch.tensor(_slopes(heads))
    positions = torch.arange(length)
    bias = -slopes[:, None, None] * (positions[:, None] - positions[None, :]).abs()
    embeddings = "embeddings"
    hidden = state[f"{embeddings}.word_embeddings.weight"][ids]
    hidden = hidden + state[f"{embeddings}.token_type_embeddings.weight"][0]
    hidden = _norm(state, f"{embeddings}.LayerNorm", hidden, config)
    for number in range(config.num_hidden_layers):
        layer = f"encoder.layer.{number}"
        parts = _linear(state, f"{layer}.attention.self.Wqkv", hidden).chunk(3, dim=1)
        query, key, value = (part.view(length, heads, -1).transpose(0, 1) for part in parts)
        weights = torch.softmax(query @ key.transpose(1, 2) / config.head_width**0.5 + bias, dim=2)
        attended_values = (weights @ value).transpose(0, 1).reshape(length, -1)
        attended = _linear(state, f"{layer}.attention.output.dense", attended_values) + hidden
        hidden = _norm(state, f"{layer}.attention.output.LayerNorm", attended, config)
        gate, kept = (hidden @ state[f"{layer}.mlp.gated_layers.weight"].T).chunk(2, dim=1)
        narrowed = _linear(state, f"{layer}.mlp.wo", functional.gelu(gate) * kept)
        hidden = _norm(state, f"{layer}.mlp.layernorm", narrowed + hidden, config)
    return hidden


def _slopes(heads: int) -> list[float]:
    """The slopes of ALiBi (Press et al. 2022), by the recursion in their text."""
    if heads & (heads - 1) == 0:
        first = 2.0 ** (-8.0 / heads)
        return [first ** (head + 1) for head in range(heads)]
    lower = 1 << (heads.bit_length() - 1)
    return _slopes(lower) + _slopes(2 * lower)[0::2][: heads - lower]


def _linear(state: State, name: str, rows: torch.Tensor) -> torch.Tensor:
    return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, rows: torch.Tensor, config: DnabertSConfig) -> torch.Tensor:
    mean = rows.mean(dim=1, keepdim=True)
    variance = (rows - mean).square().mean(dim=1, keepdim=True)
    normed = (rows - mean) / (variance + config.layer_norm_eps).sqrt()
    return normed * state[f"{name}.weight"] + state[f"{name}.bias"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What computes the reference of an encoder, the sequences it is verified on, and the computation."""

    name: str
    sequences: Ragged
    embed: Callable[[Path, Any], Embeddings]


REFERENCES: dict[EncoderKind, Reference] = {
    "dnabert_s": Reference("plain float32", NUCLEOTIDES, _dnabert_s_reference),
    "esm2": Reference("fair-esm", PROTEINS, _esm2_reference),
}
