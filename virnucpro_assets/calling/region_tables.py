"""The viral regions of a drop as BED, GFF3 and Parquet, from its tables of chunks and of reads.

Both tables are in the order of the input and are read together, a batch of reads with the rows of their
chunks, so that memory does not grow with the drop. For a drop without a long read the files have headers only.

- `viral_regions.bed`: six columns of BED; the score is the mean delta from 0 to 1,000.
- `viral_regions.gff3`: GFF3 with a `##sequence-region` line for each contig that has a region.
- `viral_regions.parquet`: the same with all figures.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from virnucpro_assets.calling.regions import Integers, Regions, regions_of
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.parquet import column_values, schema, table_batches, table_writer
from virnucpro_assets.settings_groups import RegionRules
from virnucpro_assets.storage.tables import chosen

BED_FILE, GFF_FILE, REGIONS_FILE = (f"viral_regions.{kind}" for kind in ("bed", "gff3", "parquet"))
REGION_FILES = (BED_FILE, GFF_FILE, REGIONS_FILE)

REGION_SCHEMA: Any = schema(
    {
        "name": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
        "length": pa.int64(),
        "chunks": pa.int64(),
        "mean_score": pa.float64(),
        "mean_delta": pa.float64(),
        "is_whole": pa.bool_(),
    }
)
_BED_HEADER = b"#chrom\tstart\tend\tname\tscore\tstrand\n"
_GFF_HEADER = b"##gff-version 3\n"
# Characters that GFF3 (Sequence Ontology, version 1.26) allows unescaped in a sequence's name.
_PLAIN_IN_SEQID = ".:^*$@!+_?-|"
_ROWS_PER_GROUP = 1 << 16


def write_regions(
    read_calls: Path, chunk_calls: Path, folder: Path, *, chunk_length: int, rules: RegionRules
) -> int:
    """Write REGION_FILES into `folder` from the tables of a drop; returns how many regions there are.

    Raises IntegrityError if chunks and reads do not match.
    """
    number = 0
    with ExitStack() as files:
        bed = files.enter_context(atomic_file(folder / BED_FILE))
        gff = files.enter_context(atomic_file(folder / GFF_FILE))
        table = files.enter_context(table_writer(folder / REGIONS_FILE, REGION_SCHEMA, _ROWS_PER_GROUP))
        bed.write(_BED_HEADER)
        gff.write(_GFF_HEADER)
        for names, lengths, regions in _regions_by_batch(read_calls, chunk_calls, chunk_length, rules):
            table.add(
                {
                    "name": chosen(names, regions.read),
                    "start": regions.start,
                    "end": regions.end,
                    "length": lengths[regions.read],
                    "chunks": regions.chunks,
                    "mean_score": regions.mean_score,
                    "mean_delta": regions.mean_delta,
                    "is_whole": regions.is_whole,
                }
            )
            for position in range(len(regions)):
                number += 1
                name, length = names[regions.read[position]], int(lengths[regions.read[position]])
                is_first = position == 0 or regions.read[position] != regions.read[position - 1]
                bed.write(_bed_line(name, number, regions, position).encode())
                gff.write(_gff_lines(name, number, regions, position, length if is_first else None).encode())
    return number


def _regions_by_batch(
    read_calls: Path, chunk_calls: Path, chunk_length: int, rules: RegionRules
) -> Iterator[tuple[list[str], Integers, Regions]]:
    """The names and lengths of a batch of reads, and the regions of those with enough chunks."""
    chunks = _Rows(chunk_calls)
    for reads in table_batches(read_calls, ["name", "length", "scored_chunks"]):
        lengths, counts = (column_values(reads[name], np.int64) for name in ("length", "scored_chunks"))
        number, scores = chunks.take(int(counts.sum()))
        read = np.repeat(np.arange(len(lengths)), counts)
        is_long = counts[read] >= rules.min_region_chunks
        regions = regions_of(
            read[is_long], number[is_long], scores[is_long], lengths, chunk_length=chunk_length, rules=rules
        )
        if len(regions):
            yield reads["name"].to_pylist(), lengths, regions
    chunks.require_end()


class _Rows:
    """The rows of a table of chunks, taken one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches = table_batches(path, ["chunk", "max_score_0", "max_score_1"])
        self._rest: list[Any] = []

    def take(self, rows: int) -> tuple[Integers, Any]:
        """int64 [rows]: the numbers of the next chunks, and float32 [rows, 2]: their scores."""
        have = sum(map(len, self._rest))
        while have < rows:
            batch = next(self._batches, None)
            if batch is None:
                raise self._other_reads("fewer chunks")
            self._rest.append(batch)
            have += len(batch)
        table = pa.Table.from_batches(self._rest) if self._rest else None
        if table is None:
            return np.empty(0, np.int64), np.empty((0, 2), np.float32)
        self._rest = table.slice(rows).to_batches()
        taken = table.slice(0, rows)
        scores = [column_values(taken[name], np.float32) for name in ("max_score_0", "max_score_1")]
        return column_values(taken["chunk"], np.int64), np.stack(scores, axis=1)

    def require_end(self) -> None:
        """Raise IntegrityError if rows are left."""
        if self._rest or any(map(len, self._batches)):
            raise self._other_reads("more chunks")

    def _other_reads(self, found: str) -> IntegrityError:
        return IntegrityError(
            self._path,
            found=f"{found} than the table of reads has",
            expected="one row for each of its scored chunks",
            advice="Make the calls of this drop again.",
        )


def _bed_line(name: str, number: int, regions: Regions, position: int) -> str:
    score = round(1000 * min(1.0, max(0.0, float(regions.mean_delta[position]))))
    return f"{name}\t{regions.start[position]}\t{regions.end[position]}\tregion_{number}\t{score}\t.\n"


def _gff_lines(name: str, number: int, regions: Regions, position: int, length: int | None) -> str:
    """The feature, after the pragma of its contig if `length` is given."""
    seqid = quote(name, safe=_PLAIN_IN_SEQID)
    attributes = (
        f"ID=region_{number};chunks={regions.chunks[position]};mean_score={regions.mean_score[position]:.4f};"
        f"whole={str(bool(regions.is_whole[position])).lower()}"
    )
    columns = (
        seqid,
        "virnucpro",
        "viral_sequence",
        str(regions.start[position] + 1),
        str(regions.end[position]),
        f"{regions.mean_delta[position]:.4f}",
        ".",
        ".",
        attributes,
    )
    pragma = f"##sequence-region {seqid} 1 {length}\n" if length is not None else ""
    return pragma + "\t".join(columns) + "\n"
