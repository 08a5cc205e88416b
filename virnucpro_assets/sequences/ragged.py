"""Many byte strings, or tokenised sequences, in one flat array, and copying many of them at once.

Segments are copied together as the rows of a matrix. Those of one length take one copy; those of mixed lengths from w
up to 2w, for each power of two w, take two copies of width w, one from the start and one that ends at the end. So the
time is that of copying memory, whatever the lengths.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class _Pieces(Generic[Number]):
    """Pieces laid end to end.

    `data` is [total]; `offsets` is int64 [n + 1], and piece i is `data[offsets[i]:offsets[i + 1]]`.
    """

    data: npt.NDArray[Number]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def from_lengths(cls, data: npt.NDArray[Number], lengths: npt.NDArray[np.int64]) -> Self:
        """Cut `data` into pieces of the given lengths."""
        return cls(data, offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64 [n]: the length of each piece."""
        return np.diff(self.offsets)

    def take(self, indices: npt.NDArray[np.int64]) -> Self:
        """The pieces at `indices`, in that order."""
        lengths = self.lengths[indices]
        return self.from_lengths(self.data[flat_positions(self.offsets[indices], lengths)], lengths)


@dataclass(frozen=True, slots=True)
class Ragged(_Pieces[np.uint8]):
    """Byte strings laid end to end; `data` is uint8."""

    @classmethod
    def from_strings(cls, strings: Iterable[bytes]) -> Self:
        """Join `strings`; none of them is kept."""
        parts = list(strings)
        lengths = np.fromiter((len(part) for part in parts), np.int64, len(parts))
        return cls.from_lengths(np.frombuffer(b"".join(parts), np.uint8), lengths)

    def __getitem__(self, index: int) -> bytes:
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()


@dataclass(frozen=True, slots=True)
class Tokens(_Pieces[np.int32]):
    """Tokenised sequences laid end to end, special tokens included; `data` is int32, the ids of the tokens."""


def offsets_of(lengths: Positions) -> Positions:
    """int64 [n + 1]: where each of consecutive pieces of these lengths begins, and the end of the last."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def flat_positions(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64 [sum of lengths]: start, start + 1, … for `lengths[i]` steps, for each start in turn."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum(), dtype=np.int64)


def copy_segments(
    source: Bytes, starts: Positions, lengths: Positions, target: Bytes, target_starts: Positions
) -> None:
    """Copy `source[starts[i] : starts[i] + lengths[i]]` to `target[target_starts[i] :]` for every i."""
    sizes = np.frexp(lengths)[1]
    for size in np.unique(sizes[lengths > 0]):
        group = np.flatnonzero(sizes == size)
        group_lengths = lengths[group]
        longest = int(group_lengths.max())
        if longest == group_lengths.min():
            _copy_rows(source, starts[group], longest, target, target_starts[group])
            continue
        width = 1 << (int(size) - 1)
        _copy_rows(source, starts[group], width, target, target_starts[group])
        to_end = group_lengths - width
        _copy_rows(source, starts[group] + to_end, width, target, target_starts[group] + to_end)


def _copy_rows(source: Bytes, starts: Positions, width: int, target: Bytes, target_starts: Positions) -> None:
    rows = sliding_window_view(source, width)[starts]
    sliding_window_view(target, width, writeable=True)[target_starts] = rows


def gather_segments(source: Bytes, starts: Positions, lengths: Positions) -> Ragged:
    """The segments of `source` laid end to end."""
    gathered = Ragged.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    copy_segments(source, starts, lengths, gathered.data, gathered.offsets[:-1])
    return gathered


def joined(parts: Sequence[Ragged]) -> Ragged:
    """The strings of all `parts`, one after the other."""
    data = np.concatenate([part.data for part in parts] or [np.zeros(0, np.uint8)])
    lengths = np.concatenate([part.lengths for part in parts] or [np.zeros(0, np.int64)])
    return Ragged.from_lengths(data, lengths)
