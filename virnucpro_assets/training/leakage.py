"""Leakage: rows that also occur in another split, which would make a classifier look better than it is.

Two rows are identical if their nucleotides or their proteins are the same. A row is near-identical to a
split if some share of its 31-mers, on either strand, occurs there. Sequences are compared by 64-bit
digests (BLAKE2b), which collide about once in 2^32 rows. A 31-mer of A, C, G and T is compared as a number
of 62 bits in base 4, the smaller one of its two strands. k-mers with other letters are left out.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.genetic_code import BASES, OTHER
from virnucpro_assets.sequences.index import RowBatch
from virnucpro_assets.sequences.ragged import Ragged

Digests = npt.NDArray[np.uint64]

K = 31

_DIGIT = np.full(256, OTHER, np.uint8)
for _digit, _letter in enumerate(BASES):
    _DIGIT[[_letter, _letter | 0x20]] = _digit


@dataclass
class Seen:
    """The rows of the splits that are filled so far."""

    _nucleotides: list[Digests] = field(default_factory=list)
    _proteins: list[Digests] = field(default_factory=list)
    _kmers: list[Digests] = field(default_factory=list)

    def add(self, batch: RowBatch) -> None:
        """Add rows of a filled split."""
        self._nucleotides.append(digests_of(batch.nucleotides))
        self._proteins.append(digests_of(batch.proteins))
        self._kmers.append(np.unique(canonical_kmers(batch.nucleotides)[0]))

    def settle(self) -> None:
        """Prepare the added rows for comparison: to be called before `identical` and `shared`."""
        for held in (self._nucleotides, self._proteins, self._kmers):
            held[:] = [np.unique(np.concatenate(held))] if held else []

    def identical(self, batch: RowBatch) -> npt.NDArray[np.bool_]:
        """bool [n]: which rows have nucleotides or a protein that was added."""
        same = _among(digests_of(batch.nucleotides), self._nucleotides)
        return same | _among(digests_of(batch.proteins), self._proteins)

    def shared(self, batch: RowBatch) -> npt.NDArray[np.float64]:
        """float64 [n]: the share of each row's 31-mers that were added; 0 for a row without any."""
        kmers, row = canonical_kmers(batch.nucleotides)
        found = np.bincount(row[_among(kmers, self._kmers)], minlength=len(batch.rows))
        return np.asarray(found / np.maximum(1, np.bincount(row, minlength=len(batch.rows))))


def canonical_kmers(sequences: Ragged, k: int = K) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Every k-mer (k at most 31) of `sequences`, uint64 [m], and its sequence, int64 [m].

    In the order of the sequences and of their bases, repeats included.
    """
    digits = _DIGIT[sequences.data]
    positions = max(0, len(digits) - k + 1)
    forward = np.zeros(positions, np.uint64)
    backward = np.zeros(positions, np.uint64)
    unknown = np.zeros(positions, np.bool_)
    for offset in range(k):
        step = digits[offset : offset + positions]
        unknown |= step == OTHER
        base = np.minimum(step, 3).astype(np.uint64)
        forward = (forward << np.uint64(2)) | base
        backward |= (np.uint64(3) - base) << np.uint64(2 * offset)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    within = owner[:positions] == owner[k - 1 :] if positions else unknown
    kept = within & ~unknown
    return np.minimum(forward, backward)[kept], owner[:positions][kept]


def digests_of(sequences: Ragged) -> Digests:
    """uint64 [n]: a digest of each sequence."""
    digests = b"".join(
        hashlib.blake2b(sequences[index], digest_size=8).digest() for index in range(len(sequences))
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _among(values: Digests, held: list[Digests]) -> npt.NDArray[np.bool_]:
    """bool [n]: which values are among sorted ones."""
    if not held or not len(held[0]):
        return np.zeros(len(values), np.bool_)
    index = np.minimum(np.searchsorted(held[0], values), len(held[0]) - 1)
    return np.asarray(held[0][index] == values, np.bool_)
