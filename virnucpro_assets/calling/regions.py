"""Viral regions of long reads and contigs: where neighbouring chunks look viral.

A contig has one call, even if only a part of it is viral (a prophage in a bacterial contig). The rule:

1. The score of a chunk is delta = largest P(virus) - largest P(others) of its frames, from -1 to 1.
2. Deltas are smoothed by a centred mean over `smoothing_chunks` scored chunks, fewer at the ends.
3. Neighbouring scored chunks whose smoothed delta is above `region_above` are a region. A stretch without a
   scored chunk (no stop-free frame, quarantine) of more than `max_unscored_bases` ends it.
4. A region needs `min_region_chunks` chunks. It goes from the first base of its first chunk to the last of its last.

Positions count from 0, and the end is not part of the region, as in BED.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.settings_groups import RegionRules

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions in input order, then by position; every array has one entry a region.

    `read` int64 is the read's position in the drop; `start` and `end` int64 are in bases of the read, `chunks`
    counts the scored chunks, `mean_score` is the mean of their largest P(virus), `mean_delta` that of their
    deltas. `is_whole` says that it holds the read's first and last scored chunk.
    """

    read: Integers
    start: Integers
    end: Integers
    chunks: Integers
    mean_score: Doubles
    mean_delta: Doubles
    is_whole: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.read)


def regions_of(
    read: Integers,
    chunk: Integers,
    max_scores: npt.NDArray[np.float32],
    lengths: Integers,
    *,
    chunk_length: int,
    rules: RegionRules,
) -> Regions:
    """The regions of whole reads.

    `read` int64 [c] and `chunk` int64 [c], from 1, say which scored chunks these are, in input order;
    `max_scores` float32 [c, 2] are their largest P(others) and P(virus). `lengths` int64 [n] are those of the
    reads 0 to n - 1.
    """
    start, end = chunk_bounds(read, chunk, lengths, chunk_length)
    delta = max_scores[:, 1].astype(np.float64) - max_scores[:, 0]
    first = np.flatnonzero(np.diff(read, prepend=-1))
    smooth = smoothed(delta, first, rules.smoothing_chunks)
    is_in = smooth > rules.region_above
    begins = np.empty(len(read), bool)
    begins[1:] = (read[1:] != read[:-1]) | (start[1:] - end[:-1] > rules.max_unscored_bases)
    begins[:1] = True
    begins[1:] |= is_in[1:] != is_in[:-1]
    opened = np.flatnonzero(begins)
    closed = np.append(opened[1:], len(read))[: len(opened)]
    kept = is_in[opened] & (closed - opened >= rules.min_region_chunks)
    opened, closed = opened[kept], closed[kept]
    counts, scores = closed - opened, max_scores[:, 1].astype(np.float64)
    last = np.append(first[1:], len(read))[: len(first)] - 1
    of_read = np.searchsorted(first, opened, side="right") - 1
    return Regions(
        read=read[opened],
        start=start[opened],
        end=end[closed - 1],
        chunks=counts,
        mean_score=_sums(scores, opened, closed) / counts,
        mean_delta=_sums(delta, opened, closed) / counts,
        is_whole=(opened == first[of_read]) & (closed - 1 == last[of_read]),
    )


def chunk_bounds(
    read: Integers, chunk: Integers, lengths: Integers, chunk_length: int
) -> tuple[Integers, Integers]:
    """int64 [c] each: first base and end of the chunks with these numbers, from 1, of reads of `lengths` [n]."""
    chunks = chunks_of(lengths, chunk_length)
    position = np.cumsum(chunks.per_read)[read] - chunks.per_read[read] + chunk - 1
    return chunks.start[position], chunks.start[position] + chunks.length[position]


def smoothed(values: Doubles, first: Integers, width: int) -> Doubles:
    """float64 [c]: the centred mean of `width` neighbours of the same read, fewer at its ends.

    `first` int64 [reads] are the positions where the reads begin.
    """
    counts = np.diff(np.append(first, len(values)))
    begin = np.repeat(first, counts)
    end = np.repeat(first + counts, counts)
    position = np.arange(len(values))
    low = np.maximum(begin, position - width // 2)
    high = np.minimum(end, position + width // 2 + 1)
    # Sums of a few neighbours each: a running total over all reads would lose digits.
    total = np.zeros(len(values))
    for step in range(-(width // 2), width // 2 + 1):
        index = np.clip(position + step, 0, max(len(values) - 1, 0))
        total += np.where((index >= low) & (index < high) & (index == position + step), values[index], 0.0)
    return np.asarray(total / np.maximum(high - low, 1))


def _sums(values: Doubles, opened: Integers, closed: Integers) -> Doubles:
    """float64 [r]: the sums of `values` from `opened` up to `closed`, which come in order."""
    if len(opened) == 0:
        return np.empty(0)
    bounds = np.stack((opened, closed), axis=1).ravel()
    return np.asarray(np.add.reduceat(np.append(values, 0.0), bounds)[::2])
