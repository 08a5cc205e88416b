"""By which classifier members were scored, and what that one says of its scores.

A drop has one classifier, or two: reads below a length may go to one of their own. Tables name the
route of each row, give the calibrated P(virus) beside the raw one, and call by a threshold where one
is wanted. No weights here, only what follows from scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from virnucpro_assets.vocabulary import Route

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """A classifier as the tables see it.

    `calibrate` makes calibrated P(virus) of raw ones, float64 of the same shape; None where its card has no
    calibration. `least` is the calibrated P(virus) from which on the wanted precision or false discovery rate is
    reached, None if none is wanted.
    """

    route: Route = "joint"
    calibrate: Callable[[npt.NDArray[np.float32]], Doubles] | None = None
    least: float | None = None


JOINT_ALONE = (ScoredBy(),)
"""One classifier that takes both embeddings, without a calibration."""


def calibrated(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> Doubles:
    """float64 [n]: calibrated P(virus), NaN by a classifier without a calibration; `route` are positions in `by`."""
    values = np.full(len(route), np.nan)
    for place, one in enumerate(by):
        if one.calibrate is not None:
            values[route == place] = one.calibrate(p_virus[route == place])
    return values


def reaches_wanted(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_] | None:
    """bool [n]: which P(virus) reach the wanted precision of their classifier; None if none is wanted."""
    if by[0].least is None:
        return None
    least = np.array([one.least for one in by], np.float64)
    return np.asarray(calibrated(by, route, p_virus) >= least[route])


def calibrated_column(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> Any:
    """Arrow double [n]: calibrated P(virus), null by a classifier without a calibration."""
    values = calibrated(by, route, p_virus)
    return pa.array(values, mask=np.isnan(values))
