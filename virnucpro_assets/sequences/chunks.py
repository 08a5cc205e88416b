"""Cutting reads into overlapping chunks of at most L bases, by the rule of VirNucPro.

A read of n bases has k = ceil(n / L) chunks. They are R = kL - n bases too long together, so the k - 1 junctions
overlap: with q = R // k, junction j (from 0) shifts by q + 1 while
j < R - q(k - 1), else by q. Chunk i starts at iL minus the first i shifts and takes L bases,
fewer if the read ends. The published classifier was trained on chunks cut this way (Li et al.,
Briefings in Bioinformatics 2025, bbaf224).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of consecutive reads, ordered by read and position.

    `read` int64 [c] is a position in the batch, `number` int64 [c] counts from 1 within the
    read, `start` and `length` int64 [c] are in bases of the read; `per_read` int64 [n].
    """

    read: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    per_read: npt.NDArray[np.int64]


def chunks_of(lengths: npt.NDArray[np.int64], chunk_length: int) -> Chunks:
    """Cut reads of `lengths` int64 [n] into chunks; an empty read has none.

    Raises ValueError if `chunk_length` is below 3, the length of a codon.
    """
    if chunk_length < 3:
        raise ValueError(f"chunk_length is {chunk_length}; expected at least 3 bases")
    per_read = -(-lengths // chunk_length)
    read = np.repeat(np.arange(len(lengths), dtype=np.int64), per_read)
    index = np.arange(len(read), dtype=np.int64) - np.repeat(np.cumsum(per_read) - per_read, per_read)
    surplus = per_read * chunk_length - lengths
    share = surplus // np.maximum(per_read, 1)
    longer_shifts = surplus - share * (per_read - 1)
    start = index * (chunk_length - share[read]) - np.minimum(index, longer_shifts[read])
    length = np.minimum(chunk_length, lengths[read] - start)
    return Chunks(read, index + 1, start, length, per_read)
