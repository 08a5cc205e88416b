"""Arrow columns on their way into text tables.

Lines are joined by Arrow, a batch at a time, and their bytes are written as they lie in memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.storage.number_text import Texts


def schema(columns: dict[str, pa.DataType], nullable: dict[str, pa.DataType] | None = None) -> Any:
    """The Arrow schema of `columns`, which hold no nulls, and after them the `nullable` ones."""
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in (nullable or {}).items()])


def with_note(columns: Any, note: str) -> Any:
    """The schema with a note for people in its metadata, under `virnucpro.note`; as it is without one."""
    return columns.with_metadata({"virnucpro.note": note}) if note else columns


def joined(*pieces: Texts) -> Texts:
    """String [n]: the pieces of each row, columns or constants, one after the other."""
    return pc.binary_join_element_wise(*pieces, "")


def chosen(words: Sequence[str], which: Any) -> Texts:
    """String [n]: the words at the positions `which`, integers or booleans [n]."""
    return pa.array(words, pa.string()).take(which.astype(np.int64))


def text_lines(columns: Sequence[Texts], separators: str) -> bytes:
    """The rows of `columns` as UTF-8 lines; `separators` has a character to follow each column."""
    lines: Texts = joined(*(piece for pair in zip(columns, separators, strict=True) for piece in pair))
    if len(lines) == 0:
        return b""
    _, offsets, letters = lines.buffers()
    ends = np.frombuffer(offsets, np.int32, len(lines) + 1, lines.offset * 4)
    return bytes(letters.slice(int(ends[0]), int(ends[-1] - ends[0])))
