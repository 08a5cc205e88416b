"""What is recorded of embeddings: what made them, what deviated from the plan, and how long it took.

The recipe is everything that determines the values. Files may be merged, and a run may resume another one, only if
their recipes are equal. Its digest is this identity; the orchestrator shows it as the data version.

Incidents are stored in the part and in the manifest of its shard, so that it stays visible which rows were computed
differently, or not at all. Rows are positions in the index. No result depends on the telemetry.
"""

import hashlib
import json
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision, QuarantineReason

ENGINE_FORMAT = 4
"""To be increased by one with every change of the code that may change stored results."""


class Recipe(BaseModel):
    """What made the embeddings of one encoder for one drop.

    With `cached` rows may come from the embedding cache: they were computed in other packs, so their last bits may
    differ. The field is stored only if it is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderKind
    index_digest: str
    weights_digest: str
    precision: Precision
    attention: Attention
    fused: bool = False
    token_budget: int
    packs_per_part: int
    ranks: int
    cached: bool = Field(False, exclude_if=lambda cached: not cached)
    engine_format: int = ENGINE_FORMAT

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the fields in the order of their names, in hexadecimal."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """The fields in which `other` differs, each as `name: ours, theirs`."""
        both = {name: (getattr(self, name), getattr(other, name)) for name in type(self).model_fields}
        return [f"{name} {ours} is now {theirs}" for name, (ours, theirs) in both.items() if ours != theirs]


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


class Telemetry(BaseModel):
    """Figures of the parts of a shard that its last run computed.

    The model computed `sequences` with `flops` operations in its matrices and in attention. `possible_flops` is what
    the devices could have done in the same time at the peak rate of their matrix products, 0 if that is unknown.
    Models were loaded for `loading` seconds; devices were idle for `waited_for_input` and `waited_for_output`
    seconds; `peak_memory` is the largest number of bytes that one of them used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequences: int = 0
    flops: int = 0
    possible_flops: float = 0.0
    loading: float = 0.0
    waited_for_input: float = 0.0
    waited_for_output: float = 0.0
    peak_memory: int = 0

    def __add__(self, other: "Telemetry") -> "Telemetry":
        return Telemetry(
            sequences=self.sequences + other.sequences,
            flops=self.flops + other.flops,
            possible_flops=self.possible_flops + other.possible_flops,
            loading=self.loading + other.loading,
            waited_for_input=self.waited_for_input + other.waited_for_input,
            waited_for_output=self.waited_for_output + other.waited_for_output,
            peak_memory=max(self.peak_memory, other.peak_memory),
        )

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation: operations over those possible; None if the peak is unknown."""
        return self.flops / self.possible_flops if self.possible_flops else None
