"""Whole chunks of reads in which no frame is stop-free, for a classifier that takes DNA alone.

Such a read has no candidate, and VirNucPro has no result for it. Here each of its chunks that has a codon of A, C, G, T
only becomes a candidate: the bases of the chunk, in upper case and on the strand of the file, with an empty protein,
as the frame WHOLE_CHUNK. A read with any stop-free frame keeps its frames and gets no whole chunks.

It works on the result of `candidates_of`, so all other reads are as they were.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.batches import WHOLE_CHUNK, CandidateBatch, ReadBatch
from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.sequences.frames import NO_STOP_FREE_FRAME, ReadOutcomes
from virnucpro_assets.sequences.genetic_code import DIGIT_OF_LETTER, OTHER, UPPER_OF_LETTER
from virnucpro_assets.sequences.index_manifest import WholeChunks
from virnucpro_assets.sequences.ragged import Ragged, gather_segments, joined


def with_whole_chunks(
    batch: ReadBatch, chunk_length: int, candidates: CandidateBatch, outcomes: ReadOutcomes
) -> tuple[CandidateBatch, ReadOutcomes]:
    """The candidates and outcomes of `batch` with the whole chunks of its reads without a stop-free frame.

    The order is read, chunk, frame. A read with whole chunks has members and no reason.
    """
    without_frame = np.flatnonzero(outcomes.reasons == NO_STOP_FREE_FRAME)
    if len(without_frame) == 0:
        return candidates, outcomes
    chunks = chunks_of(batch.bases.lengths[without_frame], chunk_length)
    starts = batch.bases.offsets[without_frame[chunks.read]] + chunks.start
    letters = gather_segments(batch.bases.data, starts, chunks.length)
    kept = np.flatnonzero(_has_codon(letters))
    nucleotides = letters.take(kept)
    upper = np.frombuffer(nucleotides.data.tobytes().translate(UPPER_OF_LETTER), np.uint8)
    read = without_frame[chunks.read[kept]]
    whole = CandidateBatch(
        batch.first + read,
        chunks.number[kept].astype(np.int32),
        np.full(len(kept), WHOLE_CHUNK, np.int8),
        Ragged.from_lengths(np.empty(0, np.uint8), np.zeros(len(kept), np.int64)),
        Ragged(upper, nucleotides.offsets),
    )
    members = outcomes.members + np.bincount(read, minlength=len(outcomes.members)).astype(np.int32)
    reasons = np.where(members > 0, 0, outcomes.reasons).astype(np.int8)
    return _in_order(candidates, whole), replace(outcomes, members=members, reasons=reasons)


def _has_codon(chunks: Ragged) -> npt.NDArray[np.bool_]:
    """bool [n]: which chunks, none of them empty, have three bases A, C, G, T in a row."""
    is_base = np.frombuffer(chunks.data.tobytes().translate(DIGIT_OF_LETTER), np.uint8) != OTHER
    is_codon = np.zeros(len(is_base), np.bool_)
    is_codon[:-2] = is_base[:-2] & is_base[1:-1] & is_base[2:]
    # A codon that begins in the last two bases of a chunk would end in the next one.
    for bases in (1, 2):
        is_codon[np.maximum(chunks.offsets[1:] - bases, chunks.offsets[:-1])] = False
    return np.logical_or.reduceat(is_codon, chunks.offsets[:-1])


def _in_order(candidates: CandidateBatch, whole: CandidateBatch) -> CandidateBatch:
    """Both together by read; no read has candidates of both."""
    read = np.concatenate((candidates.read, whole.read))
    order = np.argsort(read, kind="stable")
    return CandidateBatch(
        read[order],
        np.concatenate((candidates.chunk, whole.chunk))[order],
        np.concatenate((candidates.frame, whole.frame))[order],
        joined([candidates.proteins, whole.proteins]).take(order),
        joined([candidates.nucleotides, whole.nucleotides]).take(order),
    )


class WholeChunkCounter:
    """Counts the whole chunks among the candidates, and the reads that have them."""

    def __init__(self) -> None:
        self._reads = 0
        self._members = 0

    def add(self, candidates: CandidateBatch) -> None:
        """Count those among the candidates of the next reads."""
        reads = candidates.read[candidates.frame == WHOLE_CHUNK]
        self._reads += len(np.unique(reads))
        self._members += len(reads)

    def counts(self, rows: int) -> WholeChunks | None:
        """Their numbers, with that of their distinct rows; None without any."""
        return WholeChunks(reads=self._reads, members=self._members, rows=rows) if rows else None
