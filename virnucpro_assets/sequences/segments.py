"""Copying many segments of a byte array at once.

Segments are moved together as the rows of a matrix. Those of one length take one copy; those
of mixed lengths from w up to 2w, for each power of two w, take two copies of width w, one from
the start and one that reaches to the end. So the cost is that of copying memory, whatever the
lengths.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from virnucpro_assets.sequences.ragged import Ragged

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]


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
