"""Parquet tables whose bytes depend only on their content, and in which a changed bit is an error.

A TableWriter takes pieces of any size, writes row groups of one fixed size and digests each column as it is written,
so neither the file nor the digest depends on how the content was cut into pieces.

Every page has a checksum, which `opened_table` verifies as it reads. The checksum does not cover the few bytes of the
page's header, nor the end of the file, which lists the row groups. So numbers and texts are stored plain, without a
dictionary, whose packed positions could be read past their end: a changed header then gives an error or another number
of rows. To be sure of the end of the file, keep the digest that `footer_digest` gives.

The digest of a column is SHA-256 over its values: numbers as little-endian bytes of the column's width; texts as their
bytes, with their lengths as int32 in a second digest. `column_digests` gives all digests of a table.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from virnucpro_assets.errors import IntegrityError, counted, excerpt
from virnucpro_assets.files.atomic import atomic_path

Number = TypeVar("Number", bound=np.generic)

# The length of the footer, and the mark PAR1.
_END_BYTES = 8


def text_buffers(column: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of an Arrow column of texts, and their n + 1 offsets."""
    array = column
    if isinstance(column, pa.ChunkedArray):
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if len(array) == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    _, offset_buffer, letters = (memoryview(buffer or b"") for buffer in array.buffers())
    offsets = np.frombuffer(offset_buffer, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    return np.frombuffer(letters, np.uint8)[offsets[0] : offsets[-1]], offsets - offsets[0]


def text_array(letters: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Any:
    """An Arrow string array of texts (under 2 GiB), without copying the letters."""
    buffers = pa.py_buffer(offsets.astype(np.int32).data), pa.py_buffer(np.ascontiguousarray(letters).data)
    return pa.StringArray.from_buffers(len(offsets) - 1, *buffers)


def column_values(column: Any, kind: type[Number]) -> npt.NDArray[Number]:
    """The numbers of an Arrow column as a numpy array."""
    values = (
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
    return np.asarray(values, dtype=kind)


class TableWriter:
    """Writes one Parquet file in row groups of `group` rows, and digests its columns."""

    def __init__(self, path: Path, schema: Any, group: int) -> None:
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            write_statistics=True,
            write_page_checksum=True,
            use_dictionary=False,
        )
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
        """Write the remaining rows and the end of the file."""
        self._write_groups(self._waiting_rows)
        self._writer.close()

    def abandon(self) -> None:
        """Close the file without writing the remaining rows."""
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
                letters, offsets = text_buffers(column)
                digest.update(np.ascontiguousarray(letters).data)
                self._text_lengths[name].update(np.diff(offsets).astype("<i4").data)
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


@contextmanager
def opened_table(path: Path) -> Iterator[pq.ParquetFile]:
    """The Parquet file at `path`, every page verified as it is read.

    In the block, data that cannot be read or do not match their checksum raise an IntegrityError that names the file.
    An error of the disk is the OSError of the system.
    """
    with damage_named(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


def table_batches(path: Path, columns: list[str] | None = None, size: int = 65536) -> Iterator[Any]:
    """Record batches of at most `size` rows of the Parquet file at `path`, all its rows in order.

    Raises IntegrityError as `opened_table` does, if it lacks one of the `columns`, and if the number of rows is not the
    one in the metadata.
    """
    rows = 0
    with opened_table(path) as file:
        if missing := [name for name in columns or () if name not in file.schema_arrow.names]:
            raise IntegrityError(
                path,
                found=f"no column {', '.join(missing)}",
                expected="a table of this version",
                advice="Another version wrote it: materialise it again.",
            )
        for batch in file.iter_batches(size, columns=columns):
            rows += batch.num_rows
            yield batch
        if rows != file.metadata.num_rows:
            raise damaged(path, counted(rows, "row"), f"{file.metadata.num_rows} as the file says")


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors about a damaged file into an IntegrityError that names `path`."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(
            path, excerpt(error) or type(error).__name__, "the pages as they were written"
        ) from error


def damaged(path: Path, found: str, expected: str) -> IntegrityError:
    """The error for a damaged table at `path`."""
    return IntegrityError(
        path,
        found=found,
        expected=expected,
        advice="The file was damaged: check the disk, and materialise it again.",
    )


def footer_digest(path: Path) -> str:
    """SHA-256 of the end of a Parquet file: the list of its row groups, its length and the mark after it.

    Raises IntegrityError if the file is shorter than that.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _END_BYTES))
        length = int.from_bytes(stream.read(4), "little") + _END_BYTES
        if length > size:
            raise damaged(path, counted(size, "byte"), f"at least {length}")
        stream.seek(size - length)
        return hashlib.sha256(stream.read()).hexdigest()


def schema(columns: dict[str, pa.DataType], nullable: dict[str, pa.DataType] | None = None) -> Any:
    """The Arrow schema of `columns`, which hold no nulls, and after them the `nullable` ones."""
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in (nullable or {}).items()])
