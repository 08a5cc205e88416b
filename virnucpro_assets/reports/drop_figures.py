"""Figures for the report: from the tables of a drop, streamed, and of the demo drop, whose truth is known."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.demo.evaluation import error_rates, evaluate
from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.errors import counted
from virnucpro_assets.files.digests import record_of_file
from virnucpro_assets.files.parquet import column_values, table_batches
from virnucpro_assets.reports.drop_report import (
    CallRow,
    ErrorRateFigures,
    Evaluation,
    LowComplexity,
)
from virnucpro_assets.reports.histograms import Histogram, LengthCounter, ScoreCounter
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.storage.calls import CALLS, TIERS, VIRAL
from virnucpro_assets.storage.drops import DropManifest

TOP_CALLS = 25
Q_VALUE_BINS = 200


def chunk_scores(chunk_calls: Path) -> Histogram:
    """The largest P(virus) of every scored chunk, from `chunk_calls.parquet`."""
    counter = ScoreCounter()
    for batch in table_batches(chunk_calls, ["max_score_1"]):
        counter.add(column_values(batch["max_score_1"], np.float32))
    return counter.histogram()


def read_lengths(read_calls: Path) -> Histogram:
    """The lengths of all reads, from `read_calls.parquet`."""
    counter = LengthCounter()
    for batch in table_batches(read_calls, ["length"]):
        counter.add(column_values(batch["length"], np.int64))
    return counter.histogram()


def q_values(read_calls: Path) -> Histogram:
    """The q-values of all reads that have one, from `read_calls.parquet`."""
    counts = np.zeros(Q_VALUE_BINS, np.int64)
    for batch in table_batches(read_calls, ["q_value"]):
        counts += np.histogram(column_values(batch["q_value"].drop_null(), np.float64), Q_VALUE_BINS, (0, 1))[
            0
        ]
    return Histogram(edges=np.linspace(0, 1, Q_VALUE_BINS + 1).tolist(), counts=counts.tolist())


def low_complexity(read_calls: Path, above: float) -> LowComplexity:
    """How much of a drop is low in complexity, from `read_calls.parquet`; `above` is the threshold that was used."""
    chunks = low = viral = 0
    for batch in table_batches(read_calls, ["chunks", "call", "low_complexity_share"]):
        counts = column_values(batch["chunks"], np.int64)
        share = column_values(batch["low_complexity_share"].fill_null(0), np.float64)
        is_viral = column_values(pc.equal(batch["call"], CALLS[VIRAL]).fill_null(False), np.bool_)
        chunks += int(counts.sum())
        low += int(np.rint(counts * share).sum())
        viral += int((is_viral & (share >= 0.5)).sum())
    return LowComplexity(above=above, low_chunks=low, chunks=chunks, viral_reads=viral)


def top_calls(read_calls: Path, count: int = TOP_CALLS) -> list[CallRow]:
    """The strongest Viral reads of `read_calls.parquet`: best tier first, then the largest weighted delta.

    Among equals those that came first are kept, in that order.
    """
    columns = ["name", "length", "scored_chunks", "call", "tier", "weighted_delta", "max_score_1"]
    columns += ["low_complexity_share"]
    best: Any = None
    for batch in table_batches(read_calls, columns):
        viral = pa.table(batch.filter(pc.equal(batch["call"], pa.scalar(CALLS[VIRAL]))))
        together = viral if best is None else pa.concat_tables([best, viral])
        rank: Any = pc.index_in(together["tier"], pa.array(TIERS))
        delta = column_values(together["weighted_delta"], np.float64)
        best = together.take(np.lexsort([-delta, column_values(rank, np.int64)])[:count])
    rows = [] if best is None else best.to_pylist()
    return [
        CallRow(
            name=row["name"],
            length=row["length"],
            chunks=row["scored_chunks"],
            call=row["call"],
            tier=row["tier"],
            weighted_delta=row["weighted_delta"],
            score=row["max_score_1"],
            low_complexity=row["low_complexity_share"],
        )
        for row in rows
    ]


def values_by_name(read_calls: Path, column: str) -> dict[str, float]:
    """The numbers of a column of `read_calls.parquet` by read, without nulls; for small drops."""
    return {
        row["name"]: row[column]
        for batch in table_batches(read_calls, ["name", column])
        for row in batch.to_pylist()
        if row[column] is not None
    }


def evaluate_demo(drop: DropManifest, read_calls: Path) -> Evaluation | None:
    """The reads' weighted deltas and q-values against the truth, or None if this is not the demo drop."""
    if drop.records != [record_of_file(DROP_FILE)]:
        return None
    bases = {
        name: batch.bases[position]
        for batch in read_batches(drop.read_files)
        for position, name in enumerate(batch.names)
    }
    truth, q_values = read_truth(), values_by_name(read_calls, "q_value")
    found = evaluate(values_by_name(read_calls, "weighted_delta"), bases, truth)
    return Evaluation(
        auroc=found.score.value,
        low=found.score.low,
        high=found.score.high,
        baseline=found.gc.value,
        baseline_name="GC content",
        detail=f"{counted(found.viruses, 'virus read')} and {counted(found.others, 'other')}, held out; "
        f"{found.unscored} without a score",
        error_rates=[ErrorRateFigures(**asdict(rate)) for rate in error_rates(q_values, truth)]
        if q_values
        else [],
    )
