"""The index of a drop: its distinct candidates, longest first, and all places where they occur.

A folder with three Parquet files and a manifest, which is written last:

- `rows.parquet`: one row per distinct (nucleotide, protein) pair, ordered by protein length
  descending, then by protein, then by nucleotide; columns protein_length, nucleotide_length,
  protein, nucleotide; row groups of ROW_GROUP rows.
- `members.parquet`: every candidate in input order; columns read, chunk, frame, row.
- `reads.parquet`: every read in input order; columns name (final), length, chunks, members, reason (a position in
  REASONS), and unreadable, the number of its candidates with under half of their codons readable.

A folder without a manifest is no index. The reader reads only the row groups that it needs and keeps the last one,
because a rank reads the rows in short steps. Every page is verified by its checksum, and the end of each file by the
digest in the manifest.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from virnucpro_assets.errors import counted
from virnucpro_assets.files.parquet import column_values, damage_named, damaged, table_batches, text_buffers
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.index_manifest import (
    MEMBERS_FILE,
    READS_FILE,
    ROWS_FILE,
    IndexManifest,
    read_index_manifest,
)
from virnucpro_assets.sequences.ragged import Ragged, joined

_LETTERS = ["protein", "nucleotide"]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows of the index: `rows` int64 [n] are their positions in the index."""

    rows: npt.NDArray[np.int64]
    proteins: Ragged
    nucleotides: Ragged


@dataclass(frozen=True, slots=True)
class MemberBatch:
    """Consecutive members in input order.

    `read` int64 [m] is the read's position in the drop, `chunk` int32 [m] counts from 1,
    `frame` int8 [m] is a position in FRAMES, `row` int64 [m] a position in the index.
    """

    read: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int8]
    row: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReadTableBatch:
    """Consecutive reads in input order.

    `first` is the position of the first one in the drop, `names` are final, `lengths` int64
    [n] are in bases, `chunks` and `members` int32 [n] are counts, `reasons` int8 [n] are
    positions in REASONS, `unreadable` int32 [n] counts members (see ReadOutcomes).
    """

    first: int
    names: list[str]
    lengths: npt.NDArray[np.int64]
    chunks: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]
    reasons: npt.NDArray[np.int8]
    unreadable: npt.NDArray[np.int32]


class SequenceIndex:
    """An index opened for reading; not to be shared between threads."""

    def __init__(self, folder: Path, manifest: IndexManifest) -> None:
        """Use `open`, which checks the files first."""
        self.folder = folder
        self.manifest = manifest
        with damage_named(folder / ROWS_FILE):
            self._rows = pq.ParquetFile(folder / ROWS_FILE, page_checksum_verification=True)
        groups = [self._rows.metadata.row_group(i).num_rows for i in range(self._rows.num_row_groups)]
        self._group_starts = np.concatenate(([0], np.cumsum(groups, dtype=np.int64)))
        self._held_group = -1
        self._held_table: pa.Table | None = None

    @classmethod
    def open(cls, folder: Path, *, verify_content: bool = False) -> "SequenceIndex":
        """Open the index in `folder`; raises IntegrityError as `read_index_manifest` does.

        Damage inside a file raises an IntegrityError when it is read.
        """
        return cls(folder, read_index_manifest(folder, verify_content=verify_content))

    def rows(self, start: int, stop: int, step: int = 1) -> RowBatch:
        """Rows start, start + step, ... below `stop` (and below the number of rows)."""
        wanted = np.arange(start, min(stop, self.manifest.rows), step, dtype=np.int64)
        groups = np.searchsorted(self._group_starts, wanted, side="right") - 1
        borders = np.flatnonzero(np.diff(groups)) + 1
        tables = [self._taken(part) for part in np.split(wanted, borders) if len(part)]
        return RowBatch(
            wanted,
            joined([Ragged(*text_buffers(table["protein"])) for table in tables]),
            joined([Ragged(*text_buffers(table["nucleotide"])) for table in tables]),
        )

    def protein_lengths(self) -> npt.NDArray[np.int32]:
        """int32 [rows]: residues of every row; never increasing."""
        return self._length_column("protein_length")

    def nucleotide_lengths(self) -> npt.NDArray[np.int32]:
        """int32 [rows]: bases of every row."""
        return self._length_column("nucleotide_length")

    def member_batches(self, size: int = 65536) -> Iterator[MemberBatch]:
        """All members in input order, at most `size` in a batch."""
        for batch in table_batches(self.folder / MEMBERS_FILE, size=size):
            yield MemberBatch(
                column_values(batch["read"], np.int64),
                column_values(batch["chunk"], np.int32),
                column_values(batch["frame"], np.int8),
                column_values(batch["row"], np.int64),
            )

    def read_batches(self, size: int = 65536) -> Iterator[ReadTableBatch]:
        """All reads in input order, at most `size` in a batch."""
        first = 0
        for batch in table_batches(self.folder / READS_FILE, size=size):
            yield ReadTableBatch(
                first,
                cast(list[str], batch["name"].to_pylist()),
                column_values(batch["length"], np.int64),
                column_values(batch["chunks"], np.int32),
                column_values(batch["members"], np.int32),
                column_values(batch["reason"], np.int8),
                column_values(batch["unreadable"], np.int32),
            )
            first += batch.num_rows

    def _taken(self, wanted: npt.NDArray[np.int64]) -> pa.Table:
        """The rows `wanted`, which lie in one row group."""
        group = int(np.searchsorted(self._group_starts, wanted[0], side="right")) - 1
        if self._held_table is None or group != self._held_group:
            self._held_table = self._read(self._rows.metadata.row_group(group).num_rows, group, _LETTERS)
            self._held_group = group
        return self._held_table.take(pa.array(wanted - self._group_starts[group]))

    def _length_column(self, name: str) -> npt.NDArray[np.int32]:
        return column_values(self._read(self.manifest.rows, None, [name])[name], np.int32)

    def _read(self, rows: int, group: int | None, columns: list[str]) -> pa.Table:
        """Columns of a row group, or of all, which must have `rows` rows."""
        path = self.folder / ROWS_FILE
        with damage_named(path):
            table = (
                self._rows.read(columns=columns)
                if group is None
                else self._rows.read_row_group(group, columns=columns)
            )
        if table.num_rows != rows:
            raise damaged(path, counted(table.num_rows, "row"), f"{rows} as its manifest says")
        return table


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
