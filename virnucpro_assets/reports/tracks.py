"""Tracks: the scores along the contigs with the strongest viral regions, from the tables of a drop, streamed.

A contig is as strong as the sum of its regions' chunks, each with the mean delta of its region.
"""

import heapq
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.calling.regions import chunk_bounds, smoothed
from virnucpro_assets.files.parquet import column_values, table_batches

TRACKS = 6
MOST_POINTS = 500

Doubles = npt.NDArray[np.float64]


class Track(BaseModel):
    """A contig of `length` bases: a point for each scored chunk, or for some neighbours if there are many.

    `positions` are the middles of chunks in bases, `deltas` their P(virus) - P(others), `smoothed` those over which
    regions are found; `regions` are pairs of first base, from 0, and end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    length: int
    positions: list[float]
    deltas: list[float]
    smoothed: list[float]
    regions: list[tuple[int, int]]


def strongest_tracks(
    regions: Path, chunk_calls: Path, *, chunk_length: int, smoothing_chunks: int, count: int = TRACKS
) -> list[Track]:
    """The tracks of the `count` strongest contigs, the strongest first; none without a region."""
    strongest = heapq.nlargest(count, _contigs(regions), key=_strength)
    names = [rows[0]["name"] for rows in strongest]
    chunks = _chunks_of(chunk_calls, names)
    return [
        _track(rows, chunks.filter(pc.equal(chunks["name"], name)), chunk_length, smoothing_chunks)
        for name, rows in zip(names, strongest, strict=True)
    ]


def _contigs(regions: Path) -> Iterator[list[dict[str, Any]]]:
    """The regions of each contig that has any."""
    columns = ["name", "start", "end", "length", "chunks", "mean_delta"]
    rows = (row for batch in table_batches(regions, columns) for row in batch.to_pylist())
    for _, of_contig in groupby(rows, itemgetter("name")):
        yield list(of_contig)


def _strength(regions: list[dict[str, Any]]) -> float:
    return sum(float(region["chunks"] * region["mean_delta"]) for region in regions)


def _chunks_of(chunk_calls: Path, names: list[str]) -> Any:
    """The rows of the contigs with these names."""
    columns = ["name", "chunk", "max_score_0", "max_score_1"]
    wanted = pa.array(names, pa.string())
    batches = table_batches(chunk_calls, columns) if names else iter(())
    found = [batch.filter(pc.is_in(batch["name"], wanted)) for batch in batches]
    return pa.Table.from_batches(found) if found else pa.table({name: [] for name in columns})


def _track(regions: list[dict[str, Any]], chunks: Any, chunk_length: int, smoothing_chunks: int) -> Track:
    number = column_values(chunks["chunk"], np.int64)
    lengths = np.array([regions[0]["length"]], np.int64)
    start, end = chunk_bounds(np.zeros(len(number), np.int64), number, lengths, chunk_length)
    others, virus = (column_values(chunks[name], np.float64) for name in ("max_score_0", "max_score_1"))
    smooth = smoothed(virus - others, np.zeros(1, np.int64), smoothing_chunks)
    return Track(
        name=regions[0]["name"],
        length=regions[0]["length"],
        positions=_thinned((start + end) / 2),
        deltas=_thinned(virus - others),
        smoothed=_thinned(smooth),
        regions=[(region["start"], region["end"]) for region in regions],
    )


def _thinned(values: Doubles) -> list[float]:
    """Means of as many neighbours as needed, so that there are at most MOST_POINTS."""
    width = -(-len(values) // MOST_POINTS)
    starts = np.arange(0, len(values), max(width, 1))
    if len(starts) == 0:
        return []
    counts = np.diff(np.append(starts, len(values)))
    return [float(value) for value in np.round(np.add.reduceat(values, starts) / counts, 4)]
