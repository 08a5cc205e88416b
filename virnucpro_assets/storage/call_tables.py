"""The calls of a drop, per chunk and per read or contig.

- `chunk_calls.parquet`: scored chunks in input order: id, name, chunk, is_virus, max_score_0 (P(others)),
  max_score_1 (P(virus)), route, p_virus_calibrated (of max_score_1, null without a calibration), dust_score.
- `read_calls.parquet`: every read of the drop in input order with its call or the reason why it has none, and the
  number of its frames in which under half of the codons are readable: such a frame has no stop codon because it has
  few letters, so the read may be filtered out. The same goes for the share of its chunks that are low in complexity.
- `prediction_results_highestscore.csv`: VirNucPro's own consensus file, sorted by id, tab-separated in spite of its
  name.
- `contig_calls.tsv`: reads with scored chunks, sorted by id, numbers with 3 decimals.

Sorted files are written with SortedLines; there a NUL follows the id, so that lines are sorted by id even if an id
has a character below the tab. Memory does not grow with the drop.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.parquet import schema, table_writer
from virnucpro_assets.sequences.frames import REASONS
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.storage.calls import CALLS, TIERS, CallSummary, ChunkCalls, ReadCalls
from virnucpro_assets.storage.prediction_tables import chunk_ids
from virnucpro_assets.storage.scored_members import (
    JOINT_ALONE,
    ScoredBy,
    ScoredMembers,
    calibrated_column,
    scored_reads,
)
from virnucpro_assets.storage.sorted_lines import SortedLines
from virnucpro_assets.storage.tables import chosen, float32_text, text_lines, three_decimals, with_note

CHUNK_CALLS_FILE = "chunk_calls.parquet"
READ_CALLS_FILE = "read_calls.parquet"
CONSENSUS_FILE = "prediction_results_highestscore.csv"
CONTIG_CALLS_FILE = "contig_calls.tsv"
ROWS_PER_GROUP = 1 << 17

CONSENSUS_HEADER = b"Modified_ID\tIs_Virus\tmax_score_0\tmax_score_1\n"
CONTIG_HEADER = (
    b"ID\tcall\ttier\tweighted_delta\tn_chunks\tn_confident_viral\tn_confident_nonviral\tn_ambiguous"
    b"\tviral_proportion\tnonviral_proportion\n"
)
CHUNK_SCHEMA: Any = schema(
    {
        "id": pa.string(),
        "name": pa.string(),
        "chunk": pa.int32(),
        "is_virus": pa.bool_(),
        "max_score_0": pa.float32(),
        "max_score_1": pa.float32(),
        "route": pa.string(),
    },
    nullable={"p_virus_calibrated": pa.float64()},
).append(pa.field("dust_score", pa.float32(), nullable=False))
READ_SCHEMA: Any = schema(
    {
        "name": pa.string(),
        "length": pa.int64(),
        "chunks": pa.int32(),
        "scored_chunks": pa.int32(),
        "unreadable_frames": pa.int32(),
    },
    nullable={
        "call": pa.string(),
        "tier": pa.string(),
        "weighted_delta": pa.float64(),
        "n_confident_viral": pa.int32(),
        "n_confident_nonviral": pa.int32(),
        "n_ambiguous": pa.int32(),
        "viral_proportion": pa.float64(),
        "nonviral_proportion": pa.float64(),
        "max_score_0": pa.float32(),
        "max_score_1": pa.float32(),
        "reason": pa.string(),
        "route": pa.string(),
        "p_virus_calibrated": pa.float64(),
        "q_value": pa.float64(),
        "low_complexity_share": pa.float64(),
    },
)

QValues = Callable[[Any, Any], Any]
"""q-values float64 [n], NaN where there is none, of reads with routes int8 [n] and raw P(virus) float32 [n]."""


def _no_q_values(route: Any, _p_virus: Any) -> Any:
    return np.full(len(route), np.nan)


def write_calls(
    members: Iterator[ScoredMembers],
    reads: Iterator[ReadTableBatch],
    folder: Path,
    call: Callable[[ScoredMembers], tuple[ChunkCalls, ReadCalls]],
    dust: Callable[[int], Any],
    *,
    by: Sequence[ScoredBy] = JOINT_ALONE,
    note: str = "",
    q_values: QValues = _no_q_values,
    low_complexity_above: float = 20,
) -> CallSummary:
    """Write the four files into `folder` from all members and all reads of a drop, in input order.

    `call` gives the calls of scored members of whole reads, `dust` the dust scores float32 [n] of the next n chunks of
    the drop; above `low_complexity_above` a chunk is low in complexity. The routes of members are positions in `by`;
    `note` is added to the metadata of the Parquet files; `q_values` gives those of called reads.

    Raises IntegrityError if members and reads do not match.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = CallSummary()
    with ExitStack() as files:
        chunk_table = files.enter_context(
            table_writer(folder / CHUNK_CALLS_FILE, with_note(CHUNK_SCHEMA, note), ROWS_PER_GROUP)
        )
        read_table = files.enter_context(
            table_writer(folder / READ_CALLS_FILE, with_note(READ_SCHEMA, note), ROWS_PER_GROUP)
        )
        consensus = files.enter_context(SortedLines(folder))
        contigs = files.enter_context(SortedLines(folder))
        for piece in scored_reads(members, reads):
            chunks, calls = call(piece.members[piece.members.is_scored])
            scores = dust(int(piece.reads.chunks.sum()))
            chunk_columns = _chunk_columns(piece.reads, chunks, by)
            chunk_columns["dust_score"] = scores[_positions(piece.reads, chunks)]
            read_columns = _read_columns(piece.reads, calls, by, q_values)
            read_columns["low_complexity_share"] = _shares(piece.reads, scores > low_complexity_above)
            chunk_table.add(chunk_columns)
            read_table.add(read_columns)
            consensus.add(_consensus_lines(chunk_columns))
            contigs.add(_contig_lines(piece.reads, calls))
            summary.add(chunks, calls, read_columns["reason"], by)
        _write_sorted(folder / CONSENSUS_FILE, CONSENSUS_HEADER, consensus)
        _write_sorted(folder / CONTIG_CALLS_FILE, CONTIG_HEADER, contigs)
    return summary


def _chunk_columns(reads: ReadTableBatch, chunks: ChunkCalls, by: Sequence[ScoredBy]) -> dict[str, Any]:
    return {
        "id": chunk_ids(reads, chunks.read, chunks.chunk),
        "name": chosen(reads.names, chunks.read - reads.first),
        "chunk": chunks.chunk,
        "is_virus": chunks.is_virus,
        "max_score_0": chunks.max_scores[:, 0],
        "max_score_1": chunks.max_scores[:, 1],
        "route": chosen([one.route for one in by], chunks.route),
        "p_virus_calibrated": calibrated_column(by, chunks.route, chunks.max_scores[:, 1]),
    }


def _positions(reads: ReadTableBatch, chunks: ChunkCalls) -> Any:
    """int64 [c]: the positions of scored chunks among all chunks of the reads."""
    before = np.cumsum(reads.chunks, dtype=np.int64) - reads.chunks
    return before[chunks.read - reads.first] + chunks.chunk - 1


def _shares(reads: ReadTableBatch, is_so: Any) -> Any:
    """Arrow double [n]: the share of each read's chunks for which bool [chunks] `is_so` is true; null without any."""
    read = np.repeat(np.arange(len(reads.chunks)), reads.chunks)
    counts = np.bincount(read, is_so, len(reads.chunks))
    return pa.array(counts / np.maximum(reads.chunks, 1), mask=reads.chunks == 0)


def _consensus_lines(columns: dict[str, Any]) -> bytes:
    is_virus = chosen(("False", "True"), columns["is_virus"])
    scores = [float32_text(columns["max_score_0"]), float32_text(columns["max_score_1"])]
    return text_lines([columns["id"], is_virus, *scores], "\0\t\t\n")


def _read_columns(
    reads: ReadTableBatch, calls: ReadCalls, by: Sequence[ScoredBy], q_values: QValues
) -> dict[str, Any]:
    called = calls.read - reads.first
    q_value = q_values(calls.route, calls.max_scores[:, 1])
    has_no_call = np.ones(len(reads.names), bool)
    has_no_call[called] = False

    def spread(values: Any) -> Any:
        """The values of the called reads at their positions among all reads, null for the others."""
        everywhere = np.zeros(len(has_no_call), values.dtype)
        everywhere[called] = values
        return pa.array(everywhere, mask=has_no_call)

    reasons = np.where(reads.reasons == 0, REASONS.index("not_scored"), reads.reasons)
    reason: Any = pa.array(reasons.astype(np.int8), mask=~has_no_call)
    return {
        "name": reads.names,
        "length": reads.lengths,
        "chunks": reads.chunks,
        "scored_chunks": spread(calls.chunks).fill_null(0),
        "unreadable_frames": reads.unreadable,
        "call": pa.array(CALLS).take(spread(calls.call)),
        "tier": pa.array(TIERS).take(spread(calls.tier)),
        "weighted_delta": spread(calls.weighted_delta),
        "n_confident_viral": spread(calls.confident_viral),
        "n_confident_nonviral": spread(calls.confident_non_viral),
        "n_ambiguous": spread(calls.ambiguous),
        "viral_proportion": spread(calls.viral_share),
        "nonviral_proportion": spread(calls.non_viral_share),
        "max_score_0": spread(calls.max_scores[:, 0]),
        "max_score_1": spread(calls.max_scores[:, 1]),
        "reason": pa.array(REASONS).take(reason),
        "route": pa.array([one.route for one in by]).take(spread(calls.route)),
        "p_virus_calibrated": calibrated_column(by, calls.route, calls.max_scores[:, 1]).take(
            spread(np.arange(len(calls.read)))
        ),
        "q_value": pa.array(q_value, mask=np.isnan(q_value)).take(spread(np.arange(len(calls.read)))),
    }


def _contig_lines(reads: ReadTableBatch, calls: ReadCalls) -> bytes:
    counts = (calls.chunks, calls.confident_viral, calls.confident_non_viral, calls.ambiguous)
    columns = [
        chosen(reads.names, calls.read - reads.first),
        chosen(CALLS, calls.call),
        chosen(TIERS, calls.tier),
        three_decimals(calls.weighted_delta),
        *(pc.cast(pa.array(count), pa.string()) for count in counts),
        three_decimals(calls.viral_share),
        three_decimals(calls.non_viral_share),
    ]
    return text_lines(columns, "\0" + "\t" * 8 + "\n")


def _write_sorted(target: Path, header: bytes, lines: SortedLines) -> None:
    with atomic_file(target) as stream:
        stream.write(header)
        for block in lines.merged():
            stream.write(block.replace(b"\0", b"\t"))
