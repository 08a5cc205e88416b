"""An encoder: from sequences to one mean vector each, independent of the model inside.

`tokenise` turns bytes into token ids on the CPU; the caller picks the
sequences of a pack (`Tokens.take`, `TokenPack.from_tokens`); `embed` runs the model in the
chosen precision, and takes the mean of each sequence in float32 on the device.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.vocabulary import EncoderKind, Precision


class Encoder(Protocol):
    """The interface of a model for inference."""

    @property
    def kind(self) -> EncoderKind:
        """Which encoder it is."""

    @property
    def width(self) -> int:
        """How many numbers a sequence becomes."""

    @property
    def device(self) -> torch.device:
        """The device of the weights, on which packs must be."""

    def tokenise(self, sequences: Ragged) -> Tokens:
        """Token ids with the model's special tokens."""

    def embed(self, pack: TokenPack) -> torch.Tensor:
        """float32 [n, width] on the device, in the pack's order of sequences."""


@dataclass(frozen=True)
class PackedEncoder:
    """An encoder around a packed model: [total] token ids in, [total, width] hidden states out.

    `excluded_special_tokens` tokens at either end of a sequence do not count in its mean: 1 for ESM-2, whose mean is
    over residues only, 0 for DNABERT-S, whose mean is over all tokens. The mean of an empty protein, which has no other
    token, is zeros. A pack is computed in pieces of at most `piece_tokens` tokens or one sequence; 1 is one sequence at
    a time.
    """

    kind: EncoderKind
    width: int
    precision: Precision
    device: torch.device
    model: nn.Module
    tokeniser: Callable[[Ragged], Tokens]
    excluded_special_tokens: int
    piece_tokens: int | None = None

    def tokenise(self, sequences: Ragged) -> Tokens:
        """Token ids with the model's special tokens."""
        return self.tokeniser(sequences)

    @torch.inference_mode()
    def embed(self, pack: TokenPack) -> torch.Tensor:
        """float32 [n, width] on the device, in the pack's order of sequences.

        A pack with more runs than distinct lengths is sorted first and its means put back.
        """
        if len(pack.runs) == len(np.unique(pack.lengths)):
            return torch.cat([self._means(piece) for piece in self._pieces(pack)])
        ordered, order = pack.sorted_by_length()
        means = torch.empty(len(pack), self.width, dtype=torch.float32, device=pack.tokens.device)
        means[torch.from_numpy(order).to(means.device)] = self.embed(ordered)
        return means

    def _pieces(self, pack: TokenPack) -> Iterable[TokenPack]:
        return pack.cut(self.piece_tokens) if self.piece_tokens and len(pack) else [pack]

    def _means(self, pack: TokenPack) -> torch.Tensor:
        return mean_of_sequences(self.model(pack), pack, excluded_special_tokens=self.excluded_special_tokens)


def mean_of_sequences(hidden: torch.Tensor, pack: TokenPack, *, excluded_special_tokens: int) -> torch.Tensor:
    """float32 [n, width]: the mean of each sequence's rows of `hidden` [total, width].

    The first and last `excluded_special_tokens` tokens of a sequence are left out; the mean of no tokens is zeros. The
    sum is in float32 whatever the dtype of `hidden`.
    """
    means = torch.empty(len(pack), hidden.shape[1], dtype=torch.float32, device=hidden.device)
    first = 0
    for run in pack.runs:
        block = hidden[run.tokens].view(run.count, run.length, -1)
        counted = block[:, excluded_special_tokens : run.length - excluded_special_tokens]
        means[first : first + run.count] = (
            counted.mean(dim=1, dtype=torch.float32) if counted.shape[1] else 0.0
        )
        first += run.count
    return means
