"""Building the index of a drop from its reads: an external sort in bounded memory.

1. The reads are streamed once. Their candidates go to a spill as sorted runs, their names
   and outcomes to a file in input order, their names also to ReadNames.
2. The runs are merged into `rows.parquet`; the row of each spilled record is kept on disk.
3. `members.parquet` and `reads.parquet` are written in input order; then the manifest.

Temporary files are in a folder beside the target, which is removed at the end, also on an error. The memory is a fixed
amount plus the bytes a read of ReadNames.

The index depends only on the reads, the chunk length, the number of ranks, and whether reads without a stop-free frame
are kept. Its content digest is SHA-256 over the lines `chunk_length=L`, `ranks=W` and, for the tables rows, members and
reads in this order, `TABLE.COLUMN=DIGEST` for each column in the order of the schema, with the column digests of
files/parquet.py, joined by newlines. The column unreadable is left out, because it follows from the others. For a drop
in which every read has a stop-free frame the digest is the same whether such reads are kept or not.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from virnucpro_assets.files.atomic import errors_naming, temporary_folder
from virnucpro_assets.files.digests import record_of_file
from virnucpro_assets.files.manifests import write_manifest
from virnucpro_assets.files.parquet import TableWriter, footer_digest, schema, table_writer, text_array
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.frames import REASONS, ReadOutcomes, candidates_of
from virnucpro_assets.sequences.index_manifest import (
    FORMAT_VERSION,
    INDEX_MANIFEST,
    MEMBERS_FILE,
    READS_FILE,
    ROWS_FILE,
    IndexManifest,
    IndexOrigin,
    WholeChunks,
)
from virnucpro_assets.sequences.merge import RowOfRecord, merged_rows, split_records
from virnucpro_assets.sequences.names import ReadNames, Renames
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.sequences.spill import Spill
from virnucpro_assets.sequences.without_open_frame import WholeChunkCounter, with_whole_chunks

MEMORY_BUDGET = 16 << 20
"""Bytes of candidates that are sorted at a time; sorting needs a few times as much memory."""

_UNSCORED_REASONS = REASONS[1:5]


ROW_SCHEMA: Any = schema(
    {
        "protein_length": pa.int32(),
        "nucleotide_length": pa.int32(),
        "protein": pa.string(),
        "nucleotide": pa.string(),
    }
)
MEMBER_SCHEMA: Any = schema({"read": pa.int64(), "chunk": pa.int32(), "frame": pa.int8(), "row": pa.int64()})
READ_SCHEMA: Any = schema(
    {
        "name": pa.string(),
        "length": pa.int64(),
        "chunks": pa.int32(),
        "members": pa.int32(),
        "reason": pa.int8(),
        "unreadable": pa.int32(),
    }
)
ROW_GROUP = 16_384
MEMBER_GROUP = 262_144
READ_GROUP = 65_536


def build_index(
    files: Sequence[ReadFile],
    folder: Path,
    origin: IndexOrigin,
    *,
    memory_budget: int = MEMORY_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> IndexManifest:
    """Write the index of the reads in `files`, which `origin` describes, to `folder`; returns its manifest.

    `progress` is called with the number of reads so far. Raises InputError on wrong input, and on a
    repeated name if the origin's `duplicates` is "refuse"; then `folder` is left as it was.
    """
    return index_batches(read_batches(files), folder, origin, memory_budget=memory_budget, progress=progress)


def index_batches(
    batches: Iterable[ReadBatch],
    folder: Path,
    origin: IndexOrigin,
    *,
    memory_budget: int = MEMORY_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> IndexManifest:
    """Like `build_index`, from consecutive batches of reads."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        errors_naming(folder),
        temporary_folder(folder.parent, folder.name) as temporary,
        Spill(temporary, memory_budget, origin.chunk_length) as spill,
        _SpilledReads(temporary / "reads.arrows") as reads,
    ):
        names = ReadNames(temporary, policy=origin.duplicates)
        kept = WholeChunkCounter()
        for batch in batches:
            candidates, outcomes = candidates_of(batch, origin.chunk_length)
            if origin.frameless == "kept":
                candidates, outcomes = with_whole_chunks(batch, origin.chunk_length, candidates, outcomes)
                kept.add(candidates)
            spill.add(candidates)
            reads.add(batch, outcomes)
            names.add(batch.names, batch.file)
            if progress is not None:
                progress(reads.count)
        spill.finish()
        renames = names.resolve()
        (folder / INDEX_MANIFEST).unlink(missing_ok=True)
        with RowOfRecord(temporary / "rows") as row_of_record:
            rows, rows_without_protein = _write_rows(folder / ROWS_FILE, spill, row_of_record, memory_budget)
            members = _write_members(folder / MEMBERS_FILE, spill, row_of_record)
        read_table = _write_reads(folder / READS_FILE, reads, renames)
    tables = {"rows": rows, "members": members, "reads": read_table}
    manifest = _manifest(
        folder, origin, reads, renames, tables=tables, whole_chunks=kept.counts(rows_without_protein)
    )
    write_manifest(folder / INDEX_MANIFEST, manifest)
    return manifest


class _SpilledReads:
    """Names and outcomes of the reads in a file, in input order, until the names are final."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self.bases = 0
        self.with_u = self.unreadable_frames = self.unreadable_reads = 0
        self.reasons: npt.NDArray[np.int64] = np.zeros(len(REASONS), np.int64)
        self._path = path
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._file, READ_SCHEMA)

    def __enter__(self) -> "_SpilledReads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, batch: ReadBatch, outcomes: ReadOutcomes) -> None:
        columns: list[Any] = [
            batch.names,
            batch.bases.lengths,
            outcomes.chunks,
            outcomes.members,
            outcomes.reasons,
            outcomes.unreadable,
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, READ_SCHEMA, strict=True)]
        self._stream.write_batch(pa.record_batch(arrays, schema=READ_SCHEMA))
        self.count += len(batch.names)
        self.bases += len(batch.bases.data)
        self.with_u += outcomes.with_u
        self.unreadable_frames += int(outcomes.unreadable.sum())
        self.unreadable_reads += int(np.count_nonzero(outcomes.unreadable))
        self.reasons += np.bincount(outcomes.reasons, minlength=len(REASONS))

    def batches(self) -> Iterator[Any]:
        """Record batches of READ_SCHEMA; nothing can be added after them."""
        self._stream.close()
        with pa.OSFile(str(self._path), "rb") as file, pa.ipc.open_stream(file) as stream:
            yield from stream


def _write_rows(
    target: Path, spill: Spill, row_of_record: RowOfRecord, budget: int
) -> tuple[TableWriter, int]:
    """The table, and the number of its rows without a protein."""
    without_protein = 0
    with table_writer(target, ROW_SCHEMA, ROW_GROUP) as table:
        for residues, records in merged_rows(spill, row_of_record, budget):
            proteins, nucleotides = split_records(residues, records)
            if residues == 0:
                without_protein += len(records)
            table.add(
                {
                    "protein_length": proteins.lengths.astype(np.int32),
                    "nucleotide_length": nucleotides.lengths.astype(np.int32),
                    "protein": text_array(proteins.data, proteins.offsets),
                    "nucleotide": text_array(nucleotides.data, nucleotides.offsets),
                }
            )
    return table, without_protein


def _write_members(target: Path, spill: Spill, row_of_record: RowOfRecord) -> TableWriter:
    with table_writer(target, MEMBER_SCHEMA, MEMBER_GROUP) as table:
        for run in spill.run_members():
            table.add(
                {"read": run.read, "chunk": run.chunk, "frame": run.frame, "row": row_of_record.rows_of(run)}
            )
    return table


def _write_reads(target: Path, reads: _SpilledReads, renames: Renames) -> TableWriter:
    with table_writer(target, READ_SCHEMA, READ_GROUP) as table:
        for batch in reads.batches():
            columns = {name: batch[name] for name in READ_SCHEMA.names}
            if renames.touches(table.rows, batch.num_rows):
                names = cast(list[str], batch["name"].to_pylist())
                columns["name"] = pa.array(renames.apply(table.rows, names), pa.string())
            table.add(columns)
    return table


def _manifest(
    folder: Path,
    origin: IndexOrigin,
    reads: _SpilledReads,
    renames: Renames,
    *,
    tables: Mapping[str, TableWriter],
    whole_chunks: WholeChunks | None,
) -> IndexManifest:
    return IndexManifest(
        **origin.model_dump(),
        format_version=FORMAT_VERSION,
        rows=tables["rows"].rows,
        members=tables["members"].rows,
        reads=reads.count,
        bases=reads.bases,
        renamed=renames.count,
        lone_mates=renames.lone_mates,
        reasons={name: int(reads.reasons[REASONS.index(name)]) for name in _UNSCORED_REASONS},
        reads_with_u=reads.with_u,
        unreadable_frames=reads.unreadable_frames,
        unreadable_reads=reads.unreadable_reads,
        digest=_content_digest(origin.chunk_length, origin.ranks, tables),
        files={name: record_of_file(folder / name) for name in (ROWS_FILE, MEMBERS_FILE, READS_FILE)},
        footers={name: footer_digest(folder / name) for name in (ROWS_FILE, MEMBERS_FILE, READS_FILE)},
        whole_chunks=whole_chunks,
    )


def _content_digest(chunk_length: int, ranks: int, tables: Mapping[str, TableWriter]) -> str:
    lines = [f"chunk_length={chunk_length}", f"ranks={ranks}"]
    for table, writer in tables.items():
        digests = writer.column_digests()
        lines += [f"{table}.{column}={digests[column]}" for column in digests if column != "unreadable"]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
