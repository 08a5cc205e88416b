"""The hits of a drop: the reads called Viral, as FASTA.

The calls come from `read_calls.parquet` and the letters from the drop's own files, both streamed
in the order of the input. Letters keep the case that they have in the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.errors import IntegrityError, counted, excerpt
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.parquet import column_values, opened_table, table_batches
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.storage.calls import CALLS, VIRAL
from virnucpro_assets.storage.tables import Texts, float32_text, joined, three_decimals

HITS_FILE = "hits.fasta"
CALLS_AT_A_TIME = 1 << 16


@dataclass(frozen=True, slots=True)
class _Hit:
    """A read by its position in the drop, its length in bases, and its header in the FASTA file."""

    position: int
    length: int
    header: str


def write_hits(
    read_batches: Iterator[ReadBatch],
    read_calls: Path,
    target: Path,
    min_score: float = 0.5,
    *,
    note: str = "",
) -> int:
    """Write the reads called Viral whose largest P(virus) is at least `min_score`; return how many.

    Each description ends with `note`, if there is one. `read_batches` are all reads of the drop in input order. Raises
    IntegrityError if they are not the reads of `read_calls`.
    """
    hits, ending = _hits(read_calls, min_score), f" {note}" if note else ""
    hit = next(hits, None)
    reads = written = 0
    with atomic_file(target) as stream:
        for batch in read_batches:
            reads = batch.first + len(batch.bases)
            while hit is not None and hit.position < reads:
                bases = batch.bases[hit.position - batch.first]
                if len(bases) != hit.length:
                    raise _other_reads(
                        read_calls,
                        f"{counted(hit.length, 'base')} in {excerpt(repr(hit.header))}",
                        f"{len(bases)}, as in its file",
                    )
                stream.write(b"%b%b\n%b\n" % (hit.header.encode(), ending.encode(), bases))
                written += 1
                hit = next(hits, None)
        with opened_table(read_calls) as file:
            called = file.metadata.num_rows
        if reads != called:
            raise _other_reads(read_calls, counted(called, "read"), f"{reads}, as in the drop's files")
    return written


def _hits(read_calls: Path, min_score: float) -> Iterator[_Hit]:
    columns = ["name", "length", "call", "tier", "max_score_1", "weighted_delta"]
    first = 0
    for calls in table_batches(read_calls, columns, CALLS_AT_A_TIME):
        is_viral = pc.equal(calls["call"], pa.scalar(CALLS[VIRAL])).fill_null(False)
        # A read without a call has NaN here, and every comparison with NaN is false.
        scores = column_values(calls["max_score_1"], np.float32)
        positions = np.flatnonzero(column_values(is_viral, np.bool_) & (scores >= np.float32(min_score)))
        hits = calls.take(positions)
        lengths = column_values(hits["length"], np.int64).tolist()
        headers = _headers(hits).to_pylist()
        for position, length, header in zip((first + positions).tolist(), lengths, headers, strict=True):
            yield _Hit(position, length, header)
        first += calls.num_rows


def _headers(hits: Any) -> Texts:
    name, call, tier = hits["name"], hits["call"], hits["tier"]
    score = float32_text(column_values(hits["max_score_1"], np.float32))
    delta = three_decimals(column_values(hits["weighted_delta"], np.float64))
    return joined(">", name, " call=", call, " tier=", tier, " score=", score, " weighted_delta=", delta)


def _other_reads(read_calls: Path, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        read_calls, found=found, expected=expected, advice="Make the calls of this drop again."
    )
