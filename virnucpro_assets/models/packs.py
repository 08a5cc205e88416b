"""A pack: the sequences that go through an encoder in one forward pass, laid end to end.

Nothing is padded. Matrix products, norms and activations see one matrix [total tokens, width]; only attention,
positions and means depend on where sequences begin. Consecutive sequences of equal length form a run, which is a
dense batch [count, length] after a reshape. Packs of an index are sorted by length and so have few runs; packs in any
other order give the same numbers, and `sorted_by_length` makes them as fast.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from virnucpro_assets.sequences.ragged import Tokens, flat_positions


@dataclass(frozen=True, slots=True)
class Run:
    """`count` consecutive sequences of `length` tokens each, the first token at `start`."""

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        """Where the run's tokens are in the pack."""
        return slice(self.start, self.start + self.count * self.length)


def runs_of_equal_length(lengths: npt.NDArray[np.int64]) -> tuple[Run, ...]:
    """Cut a pack with sequences of these lengths into runs, in the pack's order."""
    if not len(lengths):
        return ()
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(lengths)) + 1))
    counts = np.diff(firsts, append=len(lengths))
    starts = (np.cumsum(lengths) - lengths)[firsts]
    rows = zip(starts.tolist(), counts.tolist(), lengths[firsts].tolist(), strict=True)
    return tuple(Run(start, count, length) for start, count, length in rows)


@dataclass(frozen=True)
class TokenPack:
    """Token ids int64 [total] on the encoder's device, and int64 [n] lengths in the pack's order.

    Raises ValueError when the lengths do not add up to the tokens or one of them is not positive.
    """

    tokens: torch.Tensor
    lengths: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.tokens.ndim != 1 or len(self.tokens) != self.lengths.sum() or (self.lengths < 1).any():
            raise ValueError(
                f"tokens of shape {list(self.tokens.shape)} do not fit lengths with sum {self.lengths.sum()}"
            )

    @classmethod
    def from_tokens(cls, tokens: Tokens, device: torch.device | str = "cpu") -> "TokenPack":
        """All sequences of `tokens`, in their order."""
        return cls(torch.from_numpy(tokens.data.astype(np.int64)).to(device), tokens.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The pack's runs of equal length, in order."""
        return runs_of_equal_length(self.lengths)

    @cached_property
    def longest(self) -> int:
        """The largest length, 0 for an empty pack."""
        return int(self.lengths.max(initial=0))

    @cached_property
    def positions(self) -> torch.Tensor:
        """int64 [total]: each token's position in its own sequence, from 0."""
        return torch.from_numpy(flat_positions(np.zeros_like(self.lengths), self.lengths)).to(
            self.tokens.device
        )

    @cached_property
    def bounds(self) -> torch.Tensor:
        """int32 [n + 1] on the tokens' device: where each sequence starts, and the total."""
        bounds = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int32)
        return torch.from_numpy(bounds).to(self.tokens.device)

    def cut(self, limit: int) -> Iterator["TokenPack"]:
        """Packs of whole sequences of this one, in its order, of `limit` tokens or one sequence at most."""
        ends = np.cumsum(self.lengths)
        first = 0
        while first < len(self):
            before = ends[first] - self.lengths[first]
            last = max(first + 1, int(np.searchsorted(ends, before + limit, side="right")))
            yield TokenPack(self.tokens[before : ends[last - 1]], self.lengths[first:last])
            first = last

    def sorted_by_length(self) -> tuple["TokenPack", npt.NDArray[np.int64]]:
        """The same sequences, longest first, and int64 [n]: the position of each in this pack."""
        order = np.argsort(-self.lengths, kind="stable")
        starts = np.cumsum(self.lengths) - self.lengths
        taken = torch.from_numpy(flat_positions(starts[order], self.lengths[order]))
        return TokenPack(self.tokens[taken.to(self.tokens.device)], self.lengths[order]), order
