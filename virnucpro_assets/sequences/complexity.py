"""Low complexity: the dust score of chunks, which is high where a few triplets of bases occur again and again.

Of a window with l triplets, in which triplet t occurs c_t times, the score is

    sum over t of c_t (c_t - 1) / 2 / (l - 1)

(Morgulis et al., Journal of Computational Biology 2006, doi 10.1089/cmb.2006.13.1028), times 10, as in the usual
thresholds: 5 for bases at random, 20 is where `dustmasker` begins to mask, 310 for one base alone. Windows are those of
the paper, 64 bases, here one every 32 bases and the last at the end of the chunk. The score of a chunk is the median of
its windows: above a threshold about half of it is. Triplets with other letters than A, C, G, T and U do not count.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError, counted
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.sequences.genetic_code import DIGIT_OF_LETTER, OTHER
from virnucpro_assets.sequences.ragged import Ragged

WINDOW, STEP = 64, 32
SCALE = 10

_TRIPLETS = 64
_DIGITS = np.frombuffer(DIGIT_OF_LETTER, np.uint8)
# Counts of so many windows stay in the processor's cache.
_WINDOWS_AT_ONCE = 2048

Scores = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class DustScores:
    """The dust scores of the chunks of a drop, taken in its order; `batches` are all its reads."""

    def __init__(self, batches: Iterator[ReadBatch], chunk_length: int) -> None:
        self._batches = batches
        self._chunk_length = chunk_length
        self._rest: Scores = np.empty(0, np.float32)

    def take(self, chunks: int) -> Scores:
        """float32 [chunks]: the scores of the next chunks; IntegrityError if there are fewer."""
        pieces, have = [self._rest], len(self._rest)
        while have < chunks:
            batch = next(self._batches, None)
            if batch is None:
                raise IntegrityError(
                    "reads",
                    found=counted(have, "chunk"),
                    expected=f"{chunks} or more, as the drop's index has",
                    advice="Make the index of this drop again.",
                )
            pieces.append(dust_scores(batch.bases, self._chunk_length))
            have += len(pieces[-1])
        together = np.concatenate(pieces)
        self._rest = together[chunks:]
        return together[:chunks]


def dust_scores(bases: Ragged, chunk_length: int) -> Scores:
    """float32 [chunks]: the score of every chunk of `chunk_length` bases of these reads, in their order."""
    chunks = chunks_of(bases.lengths, chunk_length)
    windows = 1 + -(-np.maximum(chunks.length - WINDOW, 0) // STEP)
    begin = np.cumsum(windows) - windows
    chunk = np.repeat(np.arange(len(windows)), windows)
    length = np.minimum(chunks.length, WINDOW)[chunk]
    step = (np.arange(len(chunk)) - begin[chunk]) * STEP
    start = (bases.offsets[:-1][chunks.read] + chunks.start)[chunk]
    start += np.minimum(step, chunks.length[chunk] - length)
    scores = _scores_of_windows(_triplets(bases.data), start, length - 2)
    order = np.lexsort((scores, chunk))
    middle = scores[order[begin + (windows - 1) // 2]] + scores[order[begin + windows // 2]]
    return np.asarray(middle / 2, np.float32)


def _triplets(letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 [n - 2]: the number of the triplet that begins at each letter, _TRIPLETS if it has another letter."""
    digits = _DIGITS[letters]
    first, second, third = digits[:-2], digits[1:-1], digits[2:]
    is_other = (first == OTHER) | (second == OTHER) | (third == OTHER)
    return np.where(is_other, _TRIPLETS, 16 * first + 4 * second + third).astype(np.uint8)


def _scores_of_windows(triplets: npt.NDArray[np.uint8], start: Integers, length: Integers) -> Scores:
    """float32 [w]: the scores of windows of `length` triplets, 62 at most, from `start`."""
    scores = np.zeros(len(start), np.float32)
    within = np.arange(WINDOW - 2)
    for first in range(0, len(start) if len(triplets) else 0, _WINDOWS_AT_ONCE):
        block = slice(first, first + _WINDOWS_AT_ONCE)
        position = np.minimum(start[block, None] + within, len(triplets) - 1)
        triplet = np.where(within < length[block, None], triplets[position], _TRIPLETS)
        row = (_TRIPLETS + 1) * np.arange(len(triplet))[:, None]
        counts = np.bincount((row + triplet).ravel(), minlength=(_TRIPLETS + 1) * len(triplet))
        counts = counts.reshape(len(triplet), -1)[:, :_TRIPLETS]
        pairs = (counts * (counts - 1)).sum(axis=1) / 2
        scores[block] = SCALE * pairs / np.maximum(counts.sum(axis=1) - 1, 1)
    return scores
