"""Histograms in bounded memory: of scores, and of lengths of unknown range."""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

SCORE_BINS = 50
LENGTH_BINS = 50
EXACT_LENGTHS = 2048
BINS_PER_OCTAVE = 8
OCTAVES = 48


class Histogram(BaseModel):
    """Bin i counts values from `edges[i]` up to `edges[i + 1]`; `is_log` if the bins grow geometrically."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: list[float]
    counts: list[int]
    is_log: bool = False

    @property
    def total(self) -> int:
        """The number of values."""
        return sum(self.counts)


class ScoreCounter:
    """Counts scores between 0 and 1 in bins of equal width."""

    def __init__(self) -> None:
        self._counts = np.zeros(SCORE_BINS, np.int64)

    def add(self, scores: npt.NDArray[np.float32]) -> None:
        """Count `scores`."""
        self._counts += np.histogram(scores, SCORE_BINS, (0, 1))[0]

    def histogram(self) -> Histogram:
        """The counts so far."""
        return Histogram(edges=np.linspace(0, 1, SCORE_BINS + 1).tolist(), counts=self._counts.tolist())


class LengthCounter:
    """Counts lengths: short ones each, and all of them in geometric bins.

    The histogram has linear bins if all lengths are short, so that reads of one length are one bar.
    """

    def __init__(self) -> None:
        self._exact = np.zeros(EXACT_LENGTHS, np.int64)
        self._geometric = np.zeros(OCTAVES * BINS_PER_OCTAVE, np.int64)
        self._largest = 0

    def add(self, lengths: npt.NDArray[np.int64] | npt.NDArray[np.int32]) -> None:
        """Count `lengths`, which are not negative."""
        if len(lengths) == 0:
            return
        self._largest = max(self._largest, int(lengths.max()))
        self._exact += np.bincount(lengths[lengths < EXACT_LENGTHS], minlength=EXACT_LENGTHS)
        octaves = np.log2(np.maximum(lengths, 1)) * BINS_PER_OCTAVE
        self._geometric += np.bincount(octaves.astype(np.int64), minlength=len(self._geometric))

    def histogram(self) -> Histogram:
        """At most LENGTH_BINS bins of equal width if all lengths are short, else geometric bins."""
        if self._largest < EXACT_LENGTHS:
            return self._linear()
        used = np.flatnonzero(self._geometric)
        bins = np.arange(used[0], used[-1] + 2)
        edges = 2.0 ** (bins / BINS_PER_OCTAVE)
        return Histogram(edges=edges.tolist(), counts=self._geometric[bins[:-1]].tolist(), is_log=True)

    def _linear(self) -> Histogram:
        used = np.flatnonzero(self._exact)
        if len(used) == 0:
            return Histogram(edges=[0, 1], counts=[0])
        width = -(-int(used[-1] - used[0] + 1) // LENGTH_BINS)
        starts = np.arange(used[0], used[-1] + 1, width)
        counts = np.add.reduceat(self._exact[: used[-1] + 1], starts)
        return Histogram(edges=[*starts.tolist(), int(starts[-1]) + width], counts=counts.tolist())
