"""From reads to candidates: the six reading frames of every chunk that have no stop codon.

The steps for a block of chunks:

1. The chunks' letters are copied into one array, each at a multiple of three with at least two zeros behind it, so
   that the position modulo three is the phase within the chunk and no codon spans two chunks.
2. Every codon of both strands and all phases is looked up once, as a bit: stop in phase 0, 1, 2
   forward, the same backward, or any residue at all. OR over a chunk gives its stop-free frames.
3. Only those frames are translated. A codon with a letter other than A, C, G, T adds nothing.

U is read as T: the original has no U, so a read of RNA has hardly a codon and all its frames are free of stops. Other
letters have the same effect, for example in a read that is mostly N, and there the rule of the original is kept; frames
with under half of their codons readable are counted for each read.

Frame Ff of a chunk begins at base f - 1, frame Rf at base f - 1 of the reverse complement, in
which only A, C, G, T are complemented. With p residues a candidate's nucleotides are the bases f - 1 up
to, but not including, f + 3p of its strand: 3p, or 3p + 1 where the strand has one more. This
is what the published classifier was trained on (Li et al., Briefings in Bioinformatics 2025,
bbaf224).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.batches import CandidateBatch, ReadBatch
from virnucpro_assets.sequences.chunks import Chunks, chunks_of
from virnucpro_assets.sequences.genetic_code import (
    COMPLEMENT_OF_LETTER,
    DIGIT_OF_LETTER,
    NO_RESIDUE,
    RESIDUE_OF_CODON,
    REVERSE_RESIDUE_OF_CODON,
    STOP,
    UPPER_OF_LETTER,
)
from virnucpro_assets.sequences.ragged import Ragged, copy_segments, gather_segments, joined

REASONS = ("", "empty", "too_short", "no_codon", "no_stop_free_frame", "not_scored")
EMPTY, TOO_SHORT, NO_CODON, NO_STOP_FREE_FRAME = 1, 2, 3, 4

BLOCK_BASES = 1 << 20
"""Chunk bases of a block: small enough to stay in the processor's cache."""

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_ANY_RESIDUE = 1 << 6
_BACKWARD = 3


@dataclass(frozen=True, slots=True)
class ReadOutcomes:
    """The result for consecutive reads.

    `chunks` and `members` int32 [n] are counts; `reasons` int8 [n] are positions in REASONS,
    0 for a read with candidates. `unreadable` int32 [n] counts the candidates of which under half of the
    codons can be read. `with_u` is how many of the reads have a U.
    """

    chunks: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]
    reasons: npt.NDArray[np.int8]
    unreadable: npt.NDArray[np.int32]
    with_u: int


def candidates_of(batch: ReadBatch, chunk_length: int) -> tuple[CandidateBatch, ReadOutcomes]:
    """The candidates of `batch` in the order read, chunk, frame, and the outcome of each read.

    Raises ValueError if `chunk_length` is below 3.
    """
    chunks = chunks_of(batch.bases.lengths, chunk_length)
    has_codon, has_u = np.zeros((2, len(batch.bases)), np.bool_)
    blocks = []
    for begin, end in _blocks(chunks.length):
        block = _candidates_of_block(batch.bases, chunks, begin, end)
        has_codon[chunks.read[begin:end][block.has_codon]] = True
        has_u[chunks.read[begin:end][block.has_u]] = True
        blocks.append(block)
    chunk = np.concatenate([block.chunk for block in blocks] or [np.zeros(0, np.int64)])
    read = chunks.read[chunk]
    candidates = CandidateBatch(
        batch.first + read,
        chunks.number[chunk].astype(np.int32),
        np.concatenate([block.frame for block in blocks] or [np.zeros(0, np.int8)]),
        joined([block.proteins for block in blocks]),
        joined([block.nucleotides for block in blocks]),
    )
    members = np.bincount(read, minlength=len(batch.bases)).astype(np.int32)
    reasons = _reasons(batch.bases.lengths, has_codon, members)
    is_unreadable = np.concatenate([block.is_unreadable for block in blocks] or [np.zeros(0, np.bool_)])
    unreadable = np.bincount(read[is_unreadable], minlength=len(batch.bases)).astype(np.int32)
    return candidates, ReadOutcomes(
        chunks.per_read.astype(np.int32), members, reasons, unreadable, int(has_u.sum())
    )


@dataclass(frozen=True, slots=True)
class _BlockCandidates:
    chunk: Integers  # position in all chunks of the batch
    frame: npt.NDArray[np.int8]
    proteins: Ragged
    nucleotides: Ragged
    has_codon: npt.NDArray[np.bool_]  # for each chunk of the block
    has_u: npt.NDArray[np.bool_]  # likewise
    is_unreadable: npt.NDArray[np.bool_]


def _blocks(lengths: Integers) -> Iterator[tuple[int, int]]:
    """Cut chunks of `lengths` into runs of about BLOCK_BASES bases."""
    if len(lengths) == 0:
        return
    block = (np.cumsum(lengths) - lengths) // BLOCK_BASES
    borders = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(lengths)]
    yield from pairwise(borders)


def _candidates_of_block(bases: Ragged, chunks: Chunks, begin: int, end: int) -> _BlockCandidates:
    lengths = chunks.length[begin:end]
    positions, letters = _laid_out(
        bases.data, bases.offsets[chunks.read[begin:end]] + chunks.start[begin:end], lengths
    )
    signs = _codon_signs(letters, positions)
    chunk, frame = np.nonzero(_stop_free(signs, lengths))
    shift = frame % 3
    begins = np.where(frame < 3, positions[chunk], len(letters) - positions[chunk] - lengths[chunk]) + shift
    proteins, nucleotides = _translated(letters, begins, lengths[chunk] - shift, frame >= 3)
    kept = np.flatnonzero(proteins.lengths)
    if len(kept) < len(chunk):
        chunk, frame, proteins, nucleotides = (
            chunk[kept],
            frame[kept],
            proteins.take(kept),
            nucleotides.take(kept),
        )
    has_codon = (signs & _ANY_RESIDUE) != 0
    is_unreadable = 2 * proteins.lengths < (lengths[chunk] - frame % 3) // 3
    return _BlockCandidates(
        begin + chunk,
        frame.astype(np.int8),
        proteins,
        nucleotides,
        has_codon,
        _chunks_with_u(letters, positions),
        is_unreadable,
    )


def _laid_out(data: Bytes, starts: Integers, lengths: Integers) -> tuple[Integers, Bytes]:
    """The position of each chunk in a new array, and that array: letters, and zeros between."""
    ends = np.cumsum((lengths + 4) // 3 * 3)
    positions = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    letters = np.zeros(int(ends[-1]), np.uint8)
    copy_segments(data, starts, lengths, letters, positions)
    return positions, letters


def _codon_signs(letters: Bytes, positions: Integers) -> Bytes:
    """uint8 for each chunk: bit of every (strand, phase) with a stop, and _ANY_RESIDUE."""
    digits = np.full(len(letters) + 2, 4, np.uint8)
    digits[:-2] = _looked_up(letters, DIGIT_OF_LETTER)
    codons = digits[:-2] * 25 + digits[1:-1] * 5 + digits[2:]
    signs = _looked_up(codons[0::3], _SIGNS[0])
    signs = signs | _looked_up(codons[1::3], _SIGNS[1])
    signs |= _looked_up(codons[2::3], _SIGNS[2])
    return np.bitwise_or.reduceat(signs, positions // 3)


def _stop_free(signs: Bytes, lengths: Integers) -> npt.NDArray[np.bool_]:
    """bool [chunks, 6]: the frames that may have residues and have no stop.

    Frame Rf of n bases reads the codons whose positions are n - f + 1 modulo three.
    """
    skipped = np.arange(3)
    bases = lengths[:, None] - skipped
    bits = np.concatenate((np.broadcast_to(skipped, bases.shape), _BACKWARD + bases % 3), axis=1)
    has_stop = (signs[:, None] >> bits.astype(np.uint8) & 1) != 0
    has_codon = (signs & _ANY_RESIDUE) != 0
    stop_free: npt.NDArray[np.bool_] = np.tile(bases >= 3, 2) & has_codon[:, None] & ~has_stop
    return stop_free


def _translated(
    letters: Bytes, begins: Integers, lengths: Integers, is_backward: npt.NDArray[np.bool_]
) -> tuple[Ragged, Ragged]:
    """Proteins and nucleotides of the frames that take `lengths` bases from `begins` on.

    A backward frame begins at its position in the reversed letters. All forward frames are copied first, so each
    strand is one stretch with its own table. Each frame gets space for one codon more, filled with zeros, which adds
    no residue and holds the single base that may follow the last codon.
    """
    order = np.argsort(is_backward, kind="stable")
    codons = lengths // 3 + 1
    ends = np.empty_like(codons)
    ends[order] = np.cumsum(codons[order])
    firsts = ends - codons
    laid = _laid_out_by_strand(letters, begins, np.minimum(lengths, 3 * codons - 2), 3 * firsts, is_backward)
    digits = _looked_up(laid, DIGIT_OF_LETTER)
    residues = _looked_up(digits[0::3] * 25 + digits[1::3] * 5 + digits[2::3], RESIDUE_OF_CODON)
    is_residue = residues != NO_RESIDUE
    counted = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_residue)))
    residue_counts = counted[ends] - counted[firsts]
    proteins = gather_segments(residues[is_residue], counted[firsts], residue_counts)
    return proteins, gather_segments(laid, 3 * firsts, np.minimum(lengths, 3 * residue_counts + 1))


def _laid_out_by_strand(
    letters: Bytes, begins: Integers, lengths: Integers, targets: Integers, is_backward: npt.NDArray[np.bool_]
) -> Bytes:
    """The frames' letters at `targets` of a new array, in upper case; backward ones reversed and complemented."""
    forward, backward = np.flatnonzero(~is_backward), np.flatnonzero(is_backward)
    ends = targets + 3 * ((lengths + 4) // 3)
    border, size = int(ends[forward].max(initial=0)), int(ends.max(initial=0))
    laid = np.zeros(size, np.uint8)
    copy_segments(letters, begins[forward], lengths[forward], laid, targets[forward])
    copy_segments(letters[::-1], begins[backward], lengths[backward], laid, targets[backward])
    return np.concatenate(
        (_looked_up(laid[:border], UPPER_OF_LETTER), _looked_up(laid[border:], COMPLEMENT_OF_LETTER))
    )


def _chunks_with_u(letters: Bytes, positions: Integers) -> npt.NDArray[np.bool_]:
    """bool for each chunk: whether it has a U, of either case."""
    is_u = (letters | 0x20) == ord("u")
    return np.logical_or.reduceat(is_u, positions) if is_u.any() else np.zeros(len(positions), np.bool_)


def _reasons(
    lengths: Integers, has_codon: npt.NDArray[np.bool_], members: npt.NDArray[np.int32]
) -> npt.NDArray[np.int8]:
    return np.select(
        [members > 0, lengths == 0, lengths < 3, ~has_codon],
        [0, EMPTY, TOO_SHORT, NO_CODON],
        NO_STOP_FREE_FRAME,
    ).astype(np.int8)


def _looked_up(values: Bytes, table: bytes) -> Bytes:
    return np.frombuffer(values.tobytes().translate(table), np.uint8)


def _sign_table(phase: int) -> bytes:
    """256 bytes: the bits of a codon that begins in `phase`."""
    return bytes(
        (forward == STOP) << phase
        | (backward == STOP) << (_BACKWARD + phase)
        | _ANY_RESIDUE * (forward != NO_RESIDUE)
        for forward, backward in zip(RESIDUE_OF_CODON, REVERSE_RESIDUE_OF_CODON, strict=True)
    )


_SIGNS = tuple(_sign_table(phase) for phase in range(3))
