"""The letters that a nucleotide sequence may have."""

import numpy as np

from virnucpro_assets.sequences.ragged import Ragged

# The IUPAC nucleotide codes (Cornish-Bowden, Nucleic Acids Research 1985), U of RNA, X which
# maskers write, and the gaps of alignments: '-', '.' and '*' (the padding of assembly files).
NUCLEOTIDE_LETTERS = b"ACGTUNRYSWKMBDHVX-.*"

BOTH_CASES = NUCLEOTIDE_LETTERS + NUCLEOTIDE_LETTERS.lower()

_IS_FOREIGN = np.ones(256, bool)
_IS_FOREIGN[np.frombuffer(BOTH_CASES, np.uint8)] = False


def first_foreign_letter(sequences: Ragged) -> tuple[int, int] | None:
    """(sequence, position in it), both from 0, of the first letter that is no nucleotide code."""
    # Deleting by table is three times as fast as looking up, and nearly always the end of it.
    if not sequences.data.tobytes().translate(None, BOTH_CASES):
        return None
    place = int(_IS_FOREIGN[sequences.data].argmax())
    sequence = int(np.searchsorted(sequences.offsets, place, side="right")) - 1
    return sequence, place - int(sequences.offsets[sequence])
