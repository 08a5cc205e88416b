"""Merging the sorted runs of a spill into the rows of the index, in little memory.

Protein lengths are merged one after the other, longest first. A block of the same size is read of each run. Take the
last record of each block that is not the end of its run: the smallest of these is the border. All records up to the
border are in memory, so without repeats they are the next piece of the result. The blocks together are within the
budget, or have a few records of each run.

The row of every record of every run is written to a file, from which the members of each run get their rows.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.spill import (
    Records,
    RunGroup,
    RunMembers,
    Spill,
    sort_keys,
    sorted_distinct,
)

ROW_BYTES = np.dtype(np.int64).itemsize

SMALLEST_BLOCK = 16
"""The least records read of a run at a time: with fewer, very many runs would advance by about one record."""


class RowOfRecord:
    """int64 on disk: the row of each record of all runs."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")

    def __enter__(self) -> "RowOfRecord":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, first: int, rows: npt.NDArray[np.int64]) -> None:
        """Write `rows` int64 [n] of the records from `first` on."""
        self._file.seek(first * ROW_BYTES)
        self._file.write(rows.data)

    def rows_of(self, members: RunMembers) -> npt.NDArray[np.int64]:
        """int64 [m]: the row of each member of a run."""
        self._file.flush()
        content = os.pread(self._file.fileno(), members.records * ROW_BYTES, members.first * ROW_BYTES)
        return np.frombuffer(content, np.int64)[members.position]


def merged_rows(spill: Spill, rows: RowOfRecord, budget: int) -> Iterator[tuple[int, Records]]:
    """The rows of the index in order, in pieces of one protein length each, with it; `rows` is filled."""
    row = 0
    by_length = sorted(spill.groups, key=lambda group: -group.protein_length)
    for residues, groups in groupby(by_length, key=attrgetter("protein_length")):
        for piece in _merged_groups(spill, list(groups), budget):
            for first, positions in piece.positions:
                rows.put(first, row + positions)
            yield residues, piece.records
            row += len(piece.records)


def split_records(residues: int, records: Records) -> tuple[Ragged, Ragged]:
    """Proteins and nucleotides of records whose proteins have that many residues."""
    bases = records[:, residues:]
    # Where there is a protein only the last base may be missing.
    unsure = -1 if residues else 0
    is_base = np.ones(bases.shape, np.bool_)
    is_base[:, unsure:] = bases[:, unsure:] != 0
    proteins = Ragged.from_lengths(records[:, :residues].ravel(), np.full(len(records), residues, np.int64))
    return proteins, Ragged.from_lengths(bases[is_base], is_base.sum(axis=1, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of the index; for records of each run, from one on (its number in all runs), their positions here."""

    records: Records
    positions: list[tuple[int, npt.NDArray[np.int64]]]


@dataclass(slots=True)
class _Cursor:
    group: RunGroup
    read: int = 0


def _merged_groups(spill: Spill, groups: list[RunGroup], budget: int) -> Iterator[_Piece]:
    cursors = [_Cursor(group) for group in groups]
    width = spill.width(groups[0])
    while cursors:
        share = max(SMALLEST_BLOCK, budget // (width * len(cursors)))
        blocks = [spill.read_records(cursor.group, cursor.read, share) for cursor in cursors]
        taken = _up_to_border(cursors, blocks)
        distinct, position = sorted_distinct(np.concatenate(taken))
        positions = np.split(position, np.cumsum([len(records) for records in taken])[:-1])
        firsts = [cursor.group.first + cursor.read for cursor in cursors]
        yield _Piece(distinct, list(zip(firsts, positions, strict=True)))
        for cursor, records in zip(cursors, taken, strict=True):
            cursor.read += len(records)
        cursors = [cursor for cursor in cursors if cursor.read < cursor.group.count]


def _up_to_border(cursors: list[_Cursor], blocks: list[Records]) -> list[Records]:
    """The records of each block that come before all records still on disk."""
    keys = [sort_keys(block) for block in blocks]
    unfinished = [
        key[-1]
        for cursor, key in zip(cursors, keys, strict=True)
        if cursor.read + len(key) < cursor.group.count
    ]
    if not unfinished:
        return blocks
    border = min(unfinished)
    return [
        block[: int(np.searchsorted(key, border, side="right"))]
        for block, key in zip(blocks, keys, strict=True)
    ]
