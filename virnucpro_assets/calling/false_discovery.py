"""The false discovery rate: the expected share of wrong calls, from calibrated probabilities.

A read with calibrated P(virus) p is not a virus with probability 1 - p. Among the reads whose p is at least t the
expected share of wrong ones is therefore the mean of their 1 - p, and the q-value of a read is that mean over
all reads with at least its P(virus) (Storey, Annals of Statistics 2003; Käll, Storey & Noble, Bioinformatics 2008, for
posterior error probabilities).

There are two assumptions: the calibration holds for reads like these, and viruses are as frequent among
them as they were where it was fitted. If the share of viruses in a sample is known to differ,
`shifted` changes the odds first (Elkan, IJCAI 2001).

Probabilities are counted in BINS bins of equal width, so that memory does not grow with the drop. Reads of one
bin have the same q-value, that of the lowest P(virus) among them.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

BINS = 1 << 16


def shifted(p_virus: Doubles, fitted_share: float, expected_share: float) -> Doubles:
    """float64, of the same shape: P(virus) if viruses are `expected_share` of the reads instead of `fitted_share`."""
    ratio = expected_share * (1 - fitted_share) / (fitted_share * (1 - expected_share))
    return np.asarray(p_virus * ratio / (1 - p_virus + p_virus * ratio))


class FalseDiscoveryRate:
    """Counts the P(virus) of reads, and gives the expected share of wrong ones above each value."""

    def __init__(self) -> None:
        self._reads = np.zeros(BINS, np.int64)
        self._wrong = np.zeros(BINS)

    def add(self, p_virus: Doubles) -> None:
        """Count reads by their P(virus); NaN is left out."""
        known = p_virus[np.isfinite(p_virus)]
        bins = _bins(known)
        self._reads += np.bincount(bins, minlength=BINS)
        self._wrong += np.bincount(bins, weights=1 - known, minlength=BINS)

    def q_values(self, p_virus: Doubles) -> Doubles:
        """float64 [n]: the q-values of reads that were counted; NaN where P(virus) is NaN."""
        known = np.isfinite(p_virus)
        values = np.full(len(p_virus), np.nan)
        values[known] = self._rates()[_bins(p_virus[known])]
        return values

    def least(self, wanted: float) -> float:
        """The least P(virus) above which at most a share `wanted` is expected to be wrong; inf if there is none."""
        reached = np.flatnonzero((self._rates() <= wanted) & (self._reads > 0))
        return float(reached[0] / BINS) if len(reached) else float("inf")

    def expected_wrong(self, least: float) -> float:
        """How many of the reads with a P(virus) of at least `least`, a value of `least()`, are expected to be wrong."""
        return float(self._wrong[round(least * BINS) :].sum()) if np.isfinite(least) else 0.0

    def _rates(self) -> Doubles:
        """float64 [BINS]: the mean of 1 - p over the reads of each bin and of those above."""
        reads = np.cumsum(self._reads[::-1])[::-1]
        wrong = np.cumsum(self._wrong[::-1])[::-1]
        return np.asarray(wrong / np.maximum(reads, 1))


def _bins(p_virus: Doubles) -> npt.NDArray[np.int64]:
    return np.minimum((p_virus * BINS).astype(np.int64), BINS - 1)
