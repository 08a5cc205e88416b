"""Incidents: deviations from the plan while a part was computed.

They are stored in the part itself and in the manifest of its shard, so that it stays visible which rows were computed
differently, or not at all. Rows are positions in the index.
"""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.vocabulary import QuarantineReason


class QuarantinedRow(BaseModel):
    """A row without an embedding, which is stored as NaN, and the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    reason: QuarantineReason


class Incidents(BaseModel):
    """The incidents of one or more parts.

    `recomputed` are the rows whose embedding had NaN or Inf and was computed again in float32. `split_packs` counts
    packs that were split, after out of memory or because their process died; `token_limit` is the lowest token budget
    that was used after out of memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recomputed: list[int] = []
    quarantined: list[QuarantinedRow] = []
    split_packs: int = 0
    token_limit: int | None = None

    def __add__(self, other: "Incidents") -> "Incidents":
        limits = [limit for limit in (self.token_limit, other.token_limit) if limit is not None]
        return Incidents(
            recomputed=self.recomputed + other.recomputed,
            quarantined=self.quarantined + other.quarantined,
            split_packs=self.split_packs + other.split_packs,
            token_limit=min(limits, default=None),
        )

    def contradiction(self, rows: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float32]) -> str | None:
        """How `embeddings` [len(rows), width] contradict this record, or None.

        Quarantined rows must be all NaN, all others finite, and the record must only have rows of `rows`.
        """
        quarantined = np.array([entry.row for entry in self.quarantined], np.int64)
        named = np.concatenate([quarantined, np.array(self.recomputed, np.int64)])
        if foreign := np.setdiff1d(named, rows).tolist():
            return f"an incident of row {foreign[0]}, which is not one of its rows"
        if len(np.unique(named)) != len(named):
            return "two incidents of one row"
        return nan_contradiction(rows, embeddings, quarantined)


def nan_contradiction(
    rows: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float32], quarantined: npt.NDArray[np.int64]
) -> str | None:
    """The first row of `embeddings` [len(rows), width] that is quarantined and not NaN, or else not finite, or None."""
    is_quarantined = np.isin(rows, quarantined)
    whole = finite_rows(embeddings)
    whole[is_quarantined] = np.isnan(embeddings[is_quarantined]).all(axis=1)
    if whole.all():
        return None
    first = int(np.argmin(whole))
    if is_quarantined[first]:
        return f"numbers in row {rows[first]}, which is recorded as quarantined"
    return f"NaN or Inf in row {rows[first]}, which is not recorded as quarantined"


def finite_rows(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """bool [n]: the rows of [n, width] without NaN or Inf.

    The sum of a row is checked first, which is much faster: it is not finite if one of its terms is not. Finite terms
    may add up to Inf, so then the terms are checked.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: npt.NDArray[np.bool_] = np.isfinite(embeddings.sum(axis=1))
    doubtful = np.flatnonzero(~finite)
    finite[doubtful] = np.isfinite(embeddings[doubtful]).all(axis=1)
    return finite
