"""Incidents: what went other than planned while a part was computed.

They are stored in the part itself and in the manifest of its shard, so that a result never
hides that some of its rows came about in another way, or not at all. Rows are positions in the
index.
"""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.vocabulary import QuarantineReason


class QuarantinedRow(BaseModel):
    """A row without an embedding, which is stored as NaN, and why it has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    reason: QuarantineReason


class Incidents(BaseModel):
    """The incidents of one or more parts.

    `recomputed` are the rows whose embedding held NaN or Inf and was computed again in float32.
    `split_packs` counts packs that were cut smaller than planned, after out of memory or because
    they ended their process; `token_limit` is the lowest token budget that was used after out of
    memory.
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
        """What in `embeddings` [len(rows), width] contradicts this record, or None.

        Quarantined rows are NaN throughout, all others are finite, and only rows of `rows` are named.
        """
        quarantined = np.array([entry.row for entry in self.quarantined], np.int64)
        named = np.concatenate([quarantined, np.array(self.recomputed, np.int64)])
        if foreign := np.setdiff1d(named, rows).tolist():
            return f"row {foreign[0]} named, which is not among its rows"
        if len(np.unique(named)) != len(named):
            return "a row that is named twice"
        return nan_contradiction(rows, embeddings, quarantined)


def nan_contradiction(
    rows: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float32], quarantined: npt.NDArray[np.int64]
) -> str | None:
    """Where `embeddings` [len(rows), width] are not NaN in the `quarantined` rows and finite in all others, or None."""
    is_quarantined = np.isin(rows, quarantined)
    whole = finite_rows(embeddings)
    whole[is_quarantined] = np.isnan(embeddings[is_quarantined]).all(axis=1)
    if whole.all():
        return None
    place = int(np.argmin(whole))
    if is_quarantined[place]:
        return f"numbers in row {rows[place]}, which is recorded as quarantined"
    return f"NaN or Inf in row {rows[place]}, which is not recorded as quarantined"


def finite_rows(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """bool [n]: the rows of [n, width] without NaN or Inf.

    A sum is no finite number if one of its terms is none, and it is much faster to look at than every
    term. Finite terms may add up to Inf, so the terms of such a row are looked at.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: npt.NDArray[np.bool_] = np.isfinite(embeddings.sum(axis=1))
    doubtful = np.flatnonzero(~finite)
    finite[doubtful] = np.isfinite(embeddings[doubtful]).all(axis=1)
    return finite
