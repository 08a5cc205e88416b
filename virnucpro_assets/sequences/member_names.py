"""Names of members: read, chunk and frame in one word."""

from collections.abc import Collection

import numpy as np

from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.index import SequenceIndex


def member_name(read: str, chunk: int, frame: int) -> str:
    """For example `read7_chunk_1F2`."""
    return f"{read}_chunk_{chunk}{FRAMES[frame]}"


def first_members(index: SequenceIndex, rows: Collection[int]) -> dict[int, str]:
    """The name of the first member of each of the given rows; one pass over members and reads."""
    wanted = np.array(sorted(rows), np.int64)
    found: dict[int, tuple[int, int, int]] = {}
    for batch in index.member_batches():
        for position in np.flatnonzero(np.isin(batch.row, wanted)).tolist():
            member = (int(batch.read[position]), int(batch.chunk[position]), int(batch.frame[position]))
            found.setdefault(int(batch.row[position]), member)
        if len(found) == len(wanted):
            break
    names: dict[int, str] = {}
    for reads in index.read_batches():
        for row, (read, chunk, frame) in found.items():
            if 0 <= read - reads.first < len(reads.names):
                names[row] = member_name(reads.names[read - reads.first], chunk, frame)
    return names


def member_counts(index: SequenceIndex, rows: Collection[int]) -> dict[int, int]:
    """How many members each of the given rows has; one pass over the members."""
    wanted = np.unique(np.array(list(rows), np.int64))
    counts = np.zeros(len(wanted), np.int64)
    for batch in index.member_batches():
        positions = np.searchsorted(wanted, batch.row[np.isin(batch.row, wanted)])
        counts += np.bincount(positions, minlength=len(wanted))
    return dict(zip(wanted.tolist(), counts.tolist(), strict=True))
