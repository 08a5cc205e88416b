"""Numbers as text, a column at a time.

A float32 is written as the shortest decimal that reads back as the same float32, in numpy's
notation: `0.5`, `1.0`, `2.861023e-06`. Arrow finds the same digits about six times faster, and
writes them the same way where no exponent and no padding is due; the few values outside that
range (0, 1, what is under 0.0001, what is not finite) go through numpy itself.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Texts = Any
"""An Arrow string array (what Arrow computes has no telling static type)."""


def float32_text(values: npt.NDArray[np.float32]) -> Texts:
    """String [n]: each float32 of `values` as numpy's `str` would write it."""
    in_common_range = (values > np.float32(1e-4)) & (values < np.float32(1))
    text: Texts = pc.cast(pa.array(values), pa.string())
    if in_common_range.all():
        return text
    rest = pa.array(values[~in_common_range].astype("S"), pa.binary()).cast(pa.string())
    return pc.replace_with_mask(text, pa.array(~in_common_range), rest)


def as_printed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [n]: what somebody reads back who parses the text of `values` as float64."""
    numbers: Any = pc.cast(float32_text(values), pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


def three_decimals(values: npt.NDArray[np.float64]) -> Texts:
    """String [n]: each of `values`, which lie between -1 and 1, rounded to 3 decimals: `0.53`, `-1.0`.

    Rounding is that of Python's `round`: by the exact value, and a tie to the even digit; but what
    rounds to nothing is `0.0` on either side of it.
    """
    scaled = values * 1000
    thousandths = np.rint(scaled).astype(np.int64)
    for near_tie in np.flatnonzero(np.abs(np.abs(scaled - thousandths) - 0.5) < 1e-6).tolist():
        thousandths[near_tie] = round(round(float(values[near_tie]), 3) * 1000)
    return _THOUSANDTHS.take(thousandths + 1000)


_THOUSANDTHS = pa.array([str(count / 1000) for count in range(-1000, 1001)])
