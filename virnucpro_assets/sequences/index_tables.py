"""Parquet tables whose bytes depend on their content alone.

A TableWriter takes pieces of any size and writes row groups of one fixed size, and digests
each column as it goes by, so neither the file nor the digest depends on how the content was
cut into pieces.

The digest of a column is SHA-256 over its values: numbers as little-endian bytes of the
column's width, texts as their bytes laid end to end after which, in a digest of its own, come
their lengths as int32. The digest of a table is given by `column_digests`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from virnucpro_assets.files.atomic import atomic_path
from virnucpro_assets.sequences.ragged import Ragged

Number = TypeVar("Number", bound=np.generic)


def _required(**columns: Any) -> Any:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


ROW_SCHEMA: Any = _required(
    protein_length=pa.int32(),
    nucleotide_length=pa.int32(),
    protein=pa.string(),
    nucleotide=pa.string(),
)
MEMBER_SCHEMA: Any = _required(
    read=pa.int64(),
    chunk=pa.int32(),
    frame=pa.int8(),
    row=pa.int64(),
)
READ_SCHEMA: Any = _required(
    name=pa.string(),
    length=pa.int64(),
    chunks=pa.int32(),
    members=pa.int32(),
    reason=pa.int8(),
)
ROW_GROUP = 16_384
MEMBER_GROUP = 262_144
READ_GROUP = 65_536


def ragged_of(column: Any) -> Ragged:
    """The texts of an Arrow column as bytes."""
    array = column
    if isinstance(column, pa.ChunkedArray):
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if len(array) == 0:
        return Ragged(np.empty(0, np.uint8), np.zeros(1, np.int64))
    _, offset_buffer, letters = (memoryview(buffer or b"") for buffer in array.buffers())
    offsets = np.frombuffer(offset_buffer, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    return Ragged(np.frombuffer(letters, np.uint8)[offsets[0] : offsets[-1]], offsets - offsets[0])


def text_array(texts: Ragged) -> Any:
    """An Arrow string array over `texts` (under 2 GiB), without copying the letters."""
    offsets = pa.py_buffer(texts.offsets.astype(np.int32).data)
    letters = pa.py_buffer(np.ascontiguousarray(texts.data).data)
    return pa.StringArray.from_buffers(len(texts), offsets, letters)


def column_values(column: Any, kind: type[Number]) -> npt.NDArray[Number]:
    """The numbers of an Arrow column as a numpy array."""
    values = (
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
    return np.asarray(values, dtype=kind)


class TableWriter:
    """Writes one Parquet file in row groups of `group` rows, and digests its columns."""

    def __init__(self, path: Path, schema: Any, group: int) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_statistics=True)
        self._schema = schema
        self._group = group
        self._waiting: list[Any] = []
        self._waiting_rows = 0
        self._digests = {field.name: hashlib.sha256() for field in schema}
        self._text_lengths = {
            field.name: hashlib.sha256() for field in schema if pa.types.is_string(field.type)
        }
        self.rows = 0

    def add(self, columns: dict[str, Any]) -> None:
        """Append rows: numpy arrays or Arrow string arrays by column name."""
        table = pa.table({name: columns[name] for name in self._schema.names}, schema=self._schema)
        self._digest(table)
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= self._group:
            self._write_groups(self._waiting_rows // self._group * self._group)

    def close(self) -> None:
        """Write what waits, then the end of the file."""
        self._write_groups(self._waiting_rows)
        self._writer.close()

    def abandon(self) -> None:
        """Close the file without writing what waits."""
        self._writer.close()

    def column_digests(self) -> dict[str, str]:
        """Hexadecimal SHA-256 by column; a text column `x` also has `x.lengths`."""
        digests = {name: digest.hexdigest() for name, digest in self._digests.items()}
        lengths = {f"{name}.lengths": digest.hexdigest() for name, digest in self._text_lengths.items()}
        return digests | lengths

    def _digest(self, table: Any) -> None:
        for name, digest in self._digests.items():
            column = table[name]
            if name in self._text_lengths:
                texts = ragged_of(column)
                digest.update(np.ascontiguousarray(texts.data).data)
                self._text_lengths[name].update(texts.lengths.astype("<i4").data)
            else:
                values = column.to_numpy()
                digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)

    def _write_groups(self, rows: int) -> None:
        if rows == 0:
            return
        table = pa.concat_tables(self._waiting)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=self._group)
        rest = table.slice(rows)
        self._waiting = [rest] if rest.num_rows else []
        self._waiting_rows = rest.num_rows


@contextmanager
def table_writer(target: Path, schema: Any, group: int) -> Iterator[TableWriter]:
    """A TableWriter whose file appears at `target` when the block ends without an error."""
    with atomic_path(target) as temporary:
        writer = TableWriter(temporary, schema, group)
        finished = False
        try:
            yield writer
            finished = True
        finally:
            writer.close() if finished else writer.abandon()
