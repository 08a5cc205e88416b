"""k-mers of sequences, each on the strand that comes first, as whole numbers.

A k-mer of A, C, G and T is a number in base 4, so 31 bases fill 62 bits; of the two strands the
smaller number counts. k-mers with any other letter are left out.
"""

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.genetic_code import BASES, OTHER
from virnucpro_assets.sequences.ragged import Ragged

K = 31

_DIGIT = np.full(256, OTHER, np.uint8)
for _digit, _letter in enumerate(BASES):
    _DIGIT[[_letter, _letter | 0x20]] = _digit


def canonical_kmers(sequences: Ragged, k: int = K) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Every k-mer (k at most 31) of `sequences`: uint64 [m], and int64 [m], whose it is.

    In the order of the sequences and of their bases, repeats included.
    """
    digits = _DIGIT[sequences.data]
    places = max(0, len(digits) - k + 1)
    forward = np.zeros(places, np.uint64)
    backward = np.zeros(places, np.uint64)
    unknown = np.zeros(places, np.bool_)
    for offset in range(k):
        step = digits[offset : offset + places]
        unknown |= step == OTHER
        base = np.minimum(step, 3).astype(np.uint64)
        forward = (forward << np.uint64(2)) | base
        backward |= (np.uint64(3) - base) << np.uint64(2 * offset)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    within = owner[:places] == owner[k - 1 :] if places else unknown
    kept = within & ~unknown
    return np.minimum(forward, backward)[kept], owner[:places][kept]
