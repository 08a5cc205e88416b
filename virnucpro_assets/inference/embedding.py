"""Embedding in one process: sequences in, one row of numbers each out.

Sequences are tokenised together, ordered by token count, longest first, cut into packs under
the token budget, and the rows put back in the order of the sequences. A pack that does not
fit into the memory of the device is cut in halves, and so are all packs after it. The rows of a
pack are fetched from the device when the next pack is on its way, so that the device is never idle.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from virnucpro_assets.inference.plans import plan_packs
from virnucpro_assets.models.hardware import HostCopy, is_out_of_memory, release_memory
from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.storage.parts import PackCounts
from virnucpro_assets.storage.provenance import finite_rows

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PackCallbacks:
    """`starting` is called with the positions of the next pack, `done` with the numbers of sequences and tokens of
    the one that went through.

    With `starting` a pack is begun only when the one before has gone through, so that it is known in which pack a
    process died.
    """

    starting: Callable[[Positions], None] | None = None
    done: Callable[[int, int], None] = lambda sequences, tokens: None


@dataclass(frozen=True)
class Embedded:
    """The embeddings of some sequences, float32 [n, width] in their order, and how they were computed.

    `counts` says how full the planned packs were, `split_packs` how many of them were cut
    smaller, `token_limit` the token budget that fitted in the end. `too_large` are the positions
    of sequences that do not fit alone; their rows are NaN, and so are those left out.
    """

    embeddings: npt.NDArray[np.float32]
    counts: PackCounts
    split_packs: int
    token_limit: int | None
    too_large: Positions

    @property
    def not_finite(self) -> Positions:
        """The positions of rows that hold NaN or Inf."""
        return np.flatnonzero(~finite_rows(self.embeddings))


def nothing_embedded(width: int) -> Embedded:
    """The result for no sequences."""
    return Embedded(np.empty((0, width), np.float32), PackCounts(), 0, None, np.empty(0, np.int64))


def embed_sequences(
    encoder: Encoder,
    sequences: Ragged,
    token_budget: int,
    *,
    tokens: Tokens | None = None,
    one_at_a_time: bool = False,
    token_limit: int | None = None,
    left_out: Positions | None = None,
    callbacks: PackCallbacks | None = None,
) -> Embedded:
    """Embed `sequences`, whose `tokens` may be made already, in packs of at most `token_budget` tokens.

    The packs are planned with the budget, so that they do not depend on what happens; with
    `token_limit` each of them is cut to that many tokens. The sequences at the positions
    `left_out` are not computed.
    """
    tokens = encoder.tokenise(sequences) if tokens is None else tokens
    order = np.argsort(-tokens.lengths, kind="stable")
    packs = (
        [(position, position + 1) for position in range(len(order))]
        if one_at_a_time
        else plan_packs(tokens.lengths[order], token_budget)
    )
    passes = _Passes(encoder, tokens, token_limit, callbacks or PackCallbacks())
    kept = np.ones(len(sequences), bool)
    if left_out is not None:
        kept[left_out] = False
    for start, stop in packs:
        chosen = order[start:stop]
        passes.embed(chosen[kept[chosen]])
    passes.fetch()
    return Embedded(
        embeddings=passes.embeddings,
        counts=PackCounts(packs=len(packs), tokens=int(tokens.lengths.sum())),
        split_packs=passes.split_packs,
        token_limit=passes.token_limit,
        too_large=np.array(sorted(passes.too_large), np.int64),
    )


@dataclass
class _Passes:
    """The forward passes over the packs of some tokens, and the token limit that fits the memory."""

    encoder: Encoder
    tokens: Tokens
    token_limit: int | None
    callbacks: PackCallbacks
    split_packs: int = 0
    too_large: list[int] = field(default_factory=list)
    _in_flight: tuple[Positions, HostCopy] | None = None

    def __post_init__(self) -> None:
        self.lengths = self.tokens.lengths
        self.embeddings = np.full((len(self.tokens), self.encoder.width), np.nan, np.float32)

    def embed(self, pack: Positions) -> None:
        """Embed the sequences at these positions, longest first, in as few passes as fit."""
        waiting, passes = self._cut(pack), 0
        while waiting:
            chosen = waiting.pop(0)
            if self._fits(chosen):
                passes += 1
            elif len(chosen) == 1:
                self.too_large.append(int(chosen[0]))
            else:
                tokens = int(self.lengths[chosen].sum())
                self.token_limit = min(self.token_limit or tokens, -(-tokens // 2))
                waiting = [piece for rest in [chosen, *waiting] for piece in self._cut(rest)]
        self.split_packs += passes > 1

    def fetch(self) -> None:
        """Wait for the rows of the last pass, and put them at the positions of their sequences."""
        if self._in_flight is not None:
            chosen, rows = self._in_flight
            self.embeddings[chosen] = rows.wait()
            self._in_flight = None
            self.callbacks.done(len(chosen), int(self.lengths[chosen].sum()))

    def _cut(self, pack: Positions) -> list[Positions]:
        if self.token_limit is None or not len(pack):
            return [pack] if len(pack) else []
        lengths = self.lengths[pack]
        # A sequence longer than the limit is a pack of its own.
        cuts = plan_packs(np.minimum(lengths, self.token_limit), self.token_limit)
        return [pack[start:stop] for start, stop in cuts]

    def _fits(self, chosen: Positions) -> bool:
        if self.callbacks.starting:
            self.fetch()
            self.callbacks.starting(chosen)
        try:
            pack = TokenPack.from_tokens(self.tokens.take(chosen), self.encoder.device)
            rows = HostCopy.begin(self.encoder.embed(pack))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            self.fetch()
            self._in_flight = chosen, rows
            return True
        # Not before the error is gone: it holds on to the tensors of the pass.
        release_memory()
        return False
