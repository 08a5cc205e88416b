"""Samples: whole chunks of a drop, spread over all lengths, for checks that recompute them."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.index import SequenceIndex

CHUNK_BITS = 24
"""A read and a chunk of it in one int64; a read of 2 ** 24 chunks would be 5 Gb long."""


@dataclass(frozen=True)
class ChunkSample:
    """The members of some chunks: `chunk` int64 [m] identifies the chunk, `row` int64 [m] is a position in `rows`
    int64 [n], the distinct rows of the index that they need, ascending."""

    chunk: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def sample_chunks(index: SequenceIndex, chunks: int, without: Collection[int] = ()) -> ChunkSample:
    """Choose at most `chunks` chunks, evenly over the rows of the index, which is sorted by length.

    Chunks that need a row in `without` are left out. Two passes over the members, three with
    `without`; the same index gives the same sample.
    """
    rows = index.manifest.rows
    seeds = (
        np.unique(np.linspace(0, rows - 1, min(chunks, rows)).astype(np.int64))
        if rows
        else np.empty(0, np.int64)
    )
    chosen = _first_chunks(index, seeds)
    if without:
        chosen = np.setdiff1d(chosen, _chunks_with(index, np.array(list(without), np.int64)))
    keys: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    members: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    for batch in index.member_batches():
        key = (batch.read << CHUNK_BITS) | batch.chunk
        kept = np.isin(key, chosen)
        keys.append(key[kept])
        members.append(batch.row[kept])
    distinct, positions = np.unique(np.concatenate(members), return_inverse=True)
    return ChunkSample(np.concatenate(keys), positions.astype(np.int64), distinct)


def _first_chunks(index: SequenceIndex, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    first = np.full(len(rows), -1, np.int64)
    for batch in index.member_batches():
        index_of_row = np.searchsorted(rows, batch.row)
        hit = np.flatnonzero(
            (index_of_row < len(rows)) & (rows[np.minimum(index_of_row, len(rows) - 1)] == batch.row)
        )
        key = (batch.read[hit] << CHUNK_BITS) | batch.chunk[hit]
        for position, value in zip(index_of_row[hit].tolist(), key.tolist(), strict=True):
            if first[position] < 0:
                first[position] = value
        if (first >= 0).all():
            break
    return np.unique(first)


def _chunks_with(index: SequenceIndex, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    keys = [
        ((batch.read << CHUNK_BITS) | batch.chunk)[np.isin(batch.row, rows)]
        for batch in index.member_batches()
    ]
    return np.unique(np.concatenate(keys))
