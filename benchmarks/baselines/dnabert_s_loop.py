"""How the original embeds DNA: one sequence at a time through a plain BERT with ALiBi.

A sequence is tokenised by itself, is a batch of one, and its mean over all tokens is taken.
Attention is the plain product of scores, biases, softmax and values, as in MosaicBERT (Portes
et al. 2023) where no Triton is installed; the biases are built once and cut to the length. What
the original does besides, to take padding out and put it in again, is left out here: with one
sequence there is none. So this loop is a little faster than the original's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from virnucpro_assets.models.configs import DnabertSConfig
from virnucpro_assets.models.dnabert_s import alibi_slopes
from virnucpro_assets.models.weights import State

LONGEST = 512


@dataclass(frozen=True)
class PlainBert:
    """The encoder, with tensors named as published and float32 biases [1, heads, longest, longest]."""

    config: DnabertSConfig
    state: State
    biases: torch.Tensor

    @classmethod
    def of(cls, config: DnabertSConfig, state: State) -> "PlainBert":
        """The encoder for sequences of at most LONGEST tokens."""
        places = torch.arange(LONGEST)
        distances = (places[None, :] - places[:, None]).abs().float()
        slopes = torch.tensor(alibi_slopes(config.num_attention_heads))
        return cls(config, state, -slopes[None, :, None, None] * distances)

    def hidden_states(self, ids: torch.Tensor) -> torch.Tensor:
        """[1, tokens, width] after the last layer, for ids int64 [1, tokens]."""
        words = functional.embedding(ids, self.state["embeddings.word_embeddings.weight"])
        types = functional.embedding(
            torch.zeros_like(ids), self.state["embeddings.token_type_embeddings.weight"]
        )
        hidden = self._norm(words + types, "embeddings.LayerNorm")
        for number in range(self.config.num_hidden_layers):
            layer = f"encoder.layer.{number}"
            mixed = self._attention(hidden, f"{layer}.attention.self")
            mixed = self._linear(mixed, f"{layer}.attention.output.dense")
            hidden = self._norm(mixed + hidden, f"{layer}.attention.output.LayerNorm")
            hidden = self._norm(self._mlp(hidden, f"{layer}.mlp") + hidden, f"{layer}.mlp.layernorm")
        return hidden

    def _attention(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        tokens, heads, width = hidden.shape[1], self.config.num_attention_heads, self.config.head_width
        query, key, value = (
            part.view(1, tokens, heads, width).transpose(1, 2)
            for part in self._linear(hidden, f"{name}.Wqkv").chunk(3, dim=2)
        )
        scores = query @ key.transpose(2, 3) / width**0.5 + self.biases[:, :, :tokens, :tokens]
        return (scores.softmax(dim=3) @ value).transpose(1, 2).flatten(2)

    def _mlp(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        both = functional.linear(hidden, self.state[f"{name}.gated_layers.weight"])
        gate, value = both.chunk(2, dim=2)
        return self._linear(functional.gelu(gate) * value, f"{name}.wo")

    def _linear(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(hidden, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return functional.layer_norm(hidden, weight.shape, weight, bias, self.config.layer_norm_eps)


def embed_nucleotides(
    model: PlainBert, tokenizer: Tokenizer, sequences: Sequence[str]
) -> npt.NDArray[np.float32]:
    """float32 [n, width]: the mean over all tokens of each sequence, in the order given."""
    means = np.empty((len(sequences), model.config.hidden_size), np.float32)
    with torch.no_grad():
        for place, sequence in enumerate(sequences):
            ids = torch.tensor(tokenizer.encode(sequence).ids)[None]
            means[place] = model.hidden_states(ids)[0].mean(dim=0).numpy()
    return means
