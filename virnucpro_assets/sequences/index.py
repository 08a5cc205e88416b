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

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import FileRecord, check_file
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.files.parquet import (
    column_values,
    damage_named,
    damaged,
    footer_digest,
    table_batches,
    text_buffers,
)
from virnucpro_assets.sequences.names import DuplicatePolicy, remarks_on_names
from virnucpro_assets.sequences.ragged import Ragged, joined

FORMAT_VERSION = 3
MANIFEST_FILE = "manifest.toml"
ROWS_FILE = "rows.parquet"
MEMBERS_FILE = "members.parquet"
READS_FILE = "reads.parquet"

_LETTERS = ["protein", "nucleotide"]


class IndexOrigin(BaseModel):
    """What an index is made from: equal origins give equal indexes.

    `drop_digest` is over the names and contents of the files, `files_digest` over their order and mates.
    `engine_format` grows when results of the engine may change. Reads without a stop-free frame (`frameless`) are
    kept as whole chunks, or else have that as their reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_digest: str
    files_digest: str = ""
    chunk_length: int
    ranks: int
    duplicates: DuplicatePolicy = "suffix"
    engine_format: int = 0
    frameless: Literal["kept"] | None = None


class WholeChunks(BaseModel):
    """Counts of the whole chunks in an index: reads without a stop-free frame, their members, the distinct rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reads: int
    members: int
    rows: int


class IndexManifest(IndexOrigin):
    """The origin of an index, and its content in numbers.

    `rows`, `members`, `reads` and `bases` are counts; so are `renamed` (reads whose name was a repeat), `lone_mates`
    (reads whose partner is missing), `reasons` (reads without a candidate, by reason), `reads_with_u` (U is read as
    T), `unreadable_frames` (members with under half of their codons readable) and `unreadable_reads` (reads that have
    such members). `digest` is the content digest (see index_builder), `files` the size and SHA-256 of each Parquet
    file, `footers` the digest of its end (see files/parquet.py). `whole_chunks` are included in the other counts, and
    None if there are none.
    """

    format_version: int
    rows: int
    members: int
    reads: int
    bases: int
    renamed: int
    lone_mates: int = 0
    reasons: dict[str, int]
    reads_with_u: int = 0
    unreadable_frames: int = 0
    unreadable_reads: int = 0
    digest: str
    files: dict[str, FileRecord]
    footers: dict[str, str] = {}
    whole_chunks: WholeChunks | None = None

    @property
    def remarks(self) -> list[str]:
        """Remarks about the names and letters of the reads, a line each."""
        remarks = remarks_on_names(self.reads, self.renamed, self.lone_mates)
        if self.reads_with_u:
            remarks.append(f"reads with a U, which is read as T: {self.reads_with_u:,} of {self.reads:,}")
        if self.unreadable_frames:
            remarks.append(
                f"reading frames with under half of their codons readable: {self.unreadable_frames:,}, of "
                f"{self.unreadable_reads:,} reads. They have no stops because letters are missing; the column "
                "unreadable_frames of read_calls.parquet marks their reads"
            )
        return remarks

    @property
    def rows_with_protein(self) -> int:
        """The number of rows with a protein, which come first; the others are whole chunks."""
        return self.rows - (self.whole_chunks.rows if self.whole_chunks else 0)

    @property
    def origin(self) -> IndexOrigin:
        return IndexOrigin(**{name: getattr(self, name) for name in IndexOrigin.model_fields})


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
        """Open the index in `folder`.

        Raises IntegrityError if the manifest or a file is missing, a file does not have its
        recorded size and end (with `verify_content` also its SHA-256), or the format is another one.
        Damage inside a file raises an IntegrityError when it is read.
        """
        manifest = read_manifest(folder / MANIFEST_FILE, IndexManifest)
        if manifest.format_version != FORMAT_VERSION:
            raise IntegrityError(
                folder / MANIFEST_FILE,
                found=f"index format {manifest.format_version}",
                expected=f"{FORMAT_VERSION}",
                advice="Materialise the index again.",
            )
        for name in (ROWS_FILE, MEMBERS_FILE, READS_FILE):
            if name not in manifest.files:
                raise IntegrityError(
                    folder / MANIFEST_FILE,
                    found=f"no record of {name}",
                    expected="one",
                    advice="Materialise the index again.",
                )
            check_file(folder / name, manifest.files[name], content=verify_content)
            if (found := footer_digest(folder / name)) != (expected := manifest.footers.get(name)):
                raise damaged(folder / name, f"an end of SHA-256 {found}", f"{expected} as its manifest says")
        return cls(folder, manifest)

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
            raise damaged(path, f"{table.num_rows} rows", f"{rows} as its manifest says")
        return table
