"""Embedding in one process: sequences in, one row of numbers each out.

Sequences are tokenised together, ordered by token count, longest first, cut into packs under
the token budget, and the rows put back in the order of the sequences.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from virnucpro_assets.inference.plans import plan_packs
from virnucpro_assets.models.encoder import Encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.parts import PackCounts


class NotFiniteError(Exception):
    """Some embeddings hold NaN or Inf; `positions` are those of their sequences."""

    def __init__(self, positions: npt.NDArray[np.int64]) -> None:
        super().__init__(f"{len(positions)} embeddings hold NaN or Inf")
        self.positions = positions


def embed_sequences(
    encoder: Encoder,
    sequences: Ragged,
    token_budget: int,
    *,
    one_at_a_time: bool = False,
    advanced: Callable[[int, int], None] | None = None,
) -> tuple[npt.NDArray[np.float32], PackCounts]:
    """Embed `sequences`: float32 [n, encoder.width] in their order, and how full the packs were.

    `advanced` is called after each pack with its numbers of sequences and tokens. Raises
    NotFiniteError if any number is NaN or Inf.
    """
    tokens = encoder.tokenise(sequences)
    order = np.argsort(-tokens.lengths, kind="stable")
    sorted_lengths = tokens.lengths[order]
    packs = (
        [(position, position + 1) for position in range(len(order))]
        if one_at_a_time
        else plan_packs(sorted_lengths, token_budget)
    )
    embeddings = np.empty((len(sequences), encoder.width), np.float32)
    for start, stop in packs:
        chosen = order[start:stop]
        pack = TokenPack.from_tokens(tokens.take(chosen), encoder.device)
        embeddings[chosen] = encoder.embed(pack).cpu().numpy()
        if advanced:
            advanced(len(chosen), int(sorted_lengths[start:stop].sum()))
    if not np.isfinite(embeddings).all():
        raise NotFiniteError(np.flatnonzero(~np.isfinite(embeddings).all(axis=1)))
    return embeddings, PackCounts(packs=len(packs), tokens=int(sorted_lengths.sum()))
