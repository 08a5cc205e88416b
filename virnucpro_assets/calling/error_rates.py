"""The false discovery rate of a drop: q-values of reads, the threshold for a wanted rate, the expected wrong calls.

The P(virus) of a read is the largest of its members. Reads that a classifier without a calibration scored have no
q-value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from virnucpro_assets.calling.false_discovery import Doubles, FalseDiscoveryRate, shifted
from virnucpro_assets.calling.routing import Routing
from virnucpro_assets.files.parquet import column_values, table_batches
from virnucpro_assets.storage.calls import CALLS, VIRAL
from virnucpro_assets.storage.scored_members import ScoredBy, ScoredMembers, calibrated

Routes = npt.NDArray[np.int8]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ErrorRates:
    """The expected share of wrong calls of a drop.

    `by` are its classifiers, and `fitted_shares` the share of viruses where the calibration of each was fitted;
    `expected_share` is that among the reads, None if it is assumed to be the same.
    """

    by: Sequence[ScoredBy]
    fitted_shares: Sequence[float | None]
    expected_share: float | None = None
    rate: FalseDiscoveryRate = field(default_factory=FalseDiscoveryRate)

    @classmethod
    def of(
        cls,
        routing: Routing,
        members: Iterator[ScoredMembers],
        reads: int,
        expected_share: float | None = None,
    ) -> "ErrorRates":
        """Count all `reads` of a drop by their P(virus), from its members. Needs 5 bytes of memory per read."""
        calibrations = [one.card.calibration for one in routing.named.values()]
        found = cls(
            routing.scored_by, [one.virus_share if one else None for one in calibrations], expected_share
        )
        if any(calibrations):
            best, route = np.full(reads, np.nan, np.float32), np.zeros(reads, np.int8)
            for batch in members:
                first = np.flatnonzero(np.diff(batch.read, prepend=-1))
                which = batch.read[first]
                if len(first):
                    best[which] = np.fmax(best[which], np.fmax.reduceat(batch.scores[:, 1], first))
                    route[which] = batch.route[first]
            found.rate.add(found.p_virus(route, best))
        return found

    def p_virus(self, route: Routes, scores: Scores) -> Doubles:
        """float64 [n]: P(virus) of raw ones under the expected share of viruses; NaN without a calibration."""
        values = calibrated(self.by, route, scores)
        for position, share in enumerate(self.fitted_shares):
            if share is not None and self.expected_share is not None:
                of_route = route == position
                values[of_route] = shifted(values[of_route], share, self.expected_share)
        return values

    def q_values(self, route: Routes, scores: Scores) -> Doubles:
        """float64 [n]: the q-values of reads with these raw P(virus); NaN without a calibration."""
        return self.rate.q_values(self.p_virus(route, scores))

    def with_thresholds(self, wanted: float) -> tuple[ScoredBy, ...]:
        """The classifiers, with the lowest calibrated P(virus) for an expected share `wanted` of wrong reads."""
        lowest = self.rate.least(wanted)
        found = []
        for one, share in zip(self.by, self.fitted_shares, strict=True):
            of_route = lowest
            if share is not None and self.expected_share is not None and np.isfinite(lowest):
                of_route = float(shifted(np.array(lowest), self.expected_share, share))
            found.append(replace(one, threshold=of_route))
        return tuple(found)

    def expected_wrong(self, read_calls: Path) -> float | None:
        """The expected number of wrong Viral calls in a table of calls; None without a calibration."""
        if all(one.calibrate is None for one in self.by):
            return None
        names, total = [one.route for one in self.by], 0.0
        for batch in table_batches(read_calls, ["call", "route", "max_score_1"]):
            viral = batch.filter(pc.equal(batch["call"], CALLS[VIRAL]))
            route = np.array([names.index(name) for name in viral["route"].to_pylist()], np.int8)
            total += float(
                np.nansum(1 - self.p_virus(route, column_values(viral["max_score_1"], np.float32)))
            )
        return total
