"""From scores of frames to calls of chunks, and from those to calls of reads or contigs.

A chunk is virus if the largest P(virus) of its frames is at least the largest P(others). A read's
call weighs its chunks by how decided they are. The rules are those that users of VirNucPro
(Li et al., Briefings in Bioinformatics 2025, bbaf224) apply to its chunk file; they read the
scores from its text, so the shortest decimals are what is computed with here too.

With a wanted precision or false discovery rate a chunk is virus, and a read Viral, if the calibrated P(virus) of
its best frame reaches the threshold for it: that of the classifier, or of the drop. Of the other reads the rules
above say which are Non-viral. A tier of confidence needs a weighted delta on the side of the call, beyond the bound
of the rules above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from virnucpro_assets.storage.number_text import as_printed
from virnucpro_assets.storage.routes import JOINT_ALONE, ScoredBy, reaches_wanted
from virnucpro_assets.storage.scored_members import ScoredMembers

CALLS = ("Viral", "Non-viral", "Ambiguous")
VIRAL, NON_VIRAL, AMBIGUOUS = range(3)

TIERS = ("high_confidence", "moderate_confidence", "low_confidence", "review")
HIGH, MODERATE, LOW, REVIEW = range(4)

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


_Share = Field(ge=0, le=1, allow_inf_nan=False)


@dataclass(frozen=True)
class CallThresholds:
    """When a read is called what.

    Raises ValueError for bounds that contradict each other: a chunk would be confident and ambiguous at
    once, and shares would be above 1.
    """

    viral_above: Annotated[
        float, "a read is Viral if its weighted delta is above, Non-viral if it is below the negative", _Share
    ] = 0.3
    high_above: Annotated[float, "a weighted delta above, either way, is high confidence", _Share] = 0.6
    confident_above: Annotated[float, "a chunk is confident if one score is above", _Share] = 0.8
    opposite_below: Annotated[float, "and the other below", _Share] = 0.3
    ambiguous_above: Annotated[float, "a chunk is ambiguous if both scores are above", _Share] = 0.7
    min_confident_chunks: Annotated[
        int, "confident chunks of the call's kind that confidence needs", Field(ge=0)
    ] = 1
    min_confident_share: Annotated[
        float, "their share of the chunks that are not ambiguous that confidence needs", _Share
    ] = 0.1
    min_chunks: Annotated[int, "chunks that confidence needs", Field(ge=0)] = 5
    wanted_precision: Annotated[
        float | None,
        "share of viruses wanted among what is called virus; a precision that the card knows",
        Field(gt=0, le=1, allow_inf_nan=False),
    ] = None
    wanted_fdr: Annotated[
        float | None,
        "expected share of wrong ones wanted among what is called virus; needs a calibration",
        Field(gt=0, lt=1, allow_inf_nan=False),
    ] = None

    def __post_init__(self) -> None:
        if self.wanted_fdr is not None and self.wanted_precision is not None:
            raise ValueError("one of wanted_fdr and wanted_precision, not both")
        for name in ("ambiguous_above", "confident_above"):
            if self.opposite_below > (bound := getattr(self, name)):
                raise ValueError(f"opposite_below of at most {name}, {bound}, not {self.opposite_below}")


@dataclass(frozen=True, slots=True)
class ChunkCalls:
    """Scored chunks in input order.

    `read` int64 [c] is the read's position, `chunk` int32 [c] counts from 1, `max_scores` float32
    [c, 2] are the largest P(others) and P(virus) of the chunk's frames, `route` int8 [c] says by which of
    the drop's classifiers, `is_virus` bool [c] is the consensus.
    """

    read: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int32]
    max_scores: npt.NDArray[np.float32]
    route: npt.NDArray[np.int8]
    is_virus: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReadCalls:
    """The reads that have scored chunks, in input order; every array has one entry a read.

    `read` is the read's position, `call` and `tier` are positions in CALLS and TIERS, `chunks` and
    `confident_viral`, `confident_non_viral`, `ambiguous` count chunks, the shares are of the chunks
    that are not ambiguous, `max_scores` float32 [n, 2] are the largest of its chunks, `route` int8 [n]
    says by which of the drop's classifiers.
    """

    read: npt.NDArray[np.int64]
    call: npt.NDArray[np.int8]
    tier: npt.NDArray[np.int8]
    weighted_delta: Doubles
    chunks: Counts
    confident_viral: Counts
    confident_non_viral: Counts
    ambiguous: Counts
    viral_share: Doubles
    non_viral_share: Doubles
    max_scores: npt.NDArray[np.float32]
    route: npt.NDArray[np.int8]


def call_chunks(members: ScoredMembers, by: Sequence[ScoredBy] = JOINT_ALONE) -> ChunkCalls:
    """The consensus of every chunk among `members`, which hold whole chunks and are all scored.

    Routes are positions in `by`.
    """
    starts = _starts(members.read, members.chunk)
    largest = np.maximum.reduceat(members.scores, starts, axis=0) if len(starts) else members.scores
    route = members.route[starts]
    reaches = reaches_wanted(by, route, largest[:, 1])
    is_virus = largest[:, 1] >= largest[:, 0] if reaches is None else reaches
    return ChunkCalls(members.read[starts], members.chunk[starts], largest, route, is_virus)


def call_reads(
    chunks: ChunkCalls, thresholds: CallThresholds, by: Sequence[ScoredBy] = JOINT_ALONE
) -> ReadCalls:
    """The call of every read among `chunks`, which hold whole reads.

    Over a read's chunks: delta = largest P(virus) - largest P(others), weight = sqrt(|delta|), and
    the weighted delta is sum(weight * delta) / sum(weight), or the mean where all weights are 0.
    """
    starts = _starts(chunks.read)
    others, virus = as_printed(chunks.max_scores[:, 0]), as_printed(chunks.max_scores[:, 1])
    weighted_delta = _weighted_delta(virus - others, starts)
    high, low = thresholds.confident_above, thresholds.opposite_below
    confident_viral = _count((virus > high) & (others < low), starts)
    confident_non_viral = _count((others > high) & (virus < low), starts)
    ambiguous = _count(np.minimum(others, virus) > thresholds.ambiguous_above, starts)
    counts = np.diff(starts, append=len(chunks.read))
    clear = np.maximum(counts - ambiguous, 1)
    shares = confident_viral / clear, confident_non_viral / clear
    largest = np.maximum.reduceat(chunks.max_scores, starts, axis=0) if len(starts) else chunks.max_scores
    route = chunks.route[starts]
    reaches = reaches_wanted(by, route, largest[:, 1])
    is_viral = weighted_delta > thresholds.viral_above if reaches is None else reaches
    is_non_viral = weighted_delta < -thresholds.viral_above
    call = np.select([is_viral, is_non_viral], [VIRAL, NON_VIRAL], AMBIGUOUS)
    # A threshold of the calibration may call a read against its weighted delta: that is no confidence.
    delta_for_call = np.where(is_viral, weighted_delta, -weighted_delta)
    confident = np.where(is_viral, confident_viral, confident_non_viral)
    supported = (confident >= thresholds.min_confident_chunks) & (
        np.where(is_viral, *shares) >= thresholds.min_confident_share
    )
    tier = _tiers(call, delta_for_call, supported, counts >= thresholds.min_chunks, thresholds)
    return ReadCalls(
        chunks.read[starts],
        call.astype(np.int8),
        tier.astype(np.int8),
        weighted_delta,
        counts,
        confident_viral,
        confident_non_viral,
        ambiguous,
        *shares,
        largest,
        route,
    )


def _tiers(
    call: Counts,
    delta_for_call: Doubles,
    supported: npt.NDArray[np.bool_],
    has_many_chunks: npt.NDArray[np.bool_],
    thresholds: CallThresholds,
) -> Counts:
    supported = supported & (delta_for_call > thresholds.viral_above)
    is_strong = delta_for_call > thresholds.high_above
    tier = np.select([~supported, is_strong], [LOW, HIGH], MODERATE)
    with_few_chunks = np.where(tier == LOW, REVIEW, LOW)
    return np.where(call == AMBIGUOUS, REVIEW, np.where(has_many_chunks, tier, with_few_chunks))


def _weighted_delta(delta: Doubles, starts: Counts) -> Doubles:
    if len(starts) == 0:
        return np.empty(0)
    weight = np.sqrt(np.abs(delta))
    total = np.add.reduceat(weight, starts)
    # Where all weights are 0 all deltas are 0, and so is their mean.
    return np.add.reduceat(weight * delta, starts) / np.where(total > 0, total, 1)


def _count(is_so: npt.NDArray[np.bool_], starts: Counts) -> Counts:
    if len(starts) == 0:
        return np.empty(0, np.int64)
    return np.add.reduceat(is_so.astype(np.int64), starts)


def _starts(*keys: npt.NDArray[np.int64] | npt.NDArray[np.int32]) -> Counts:
    """int64 [groups]: where a run of equal keys begins."""
    if len(keys[0]) == 0:
        return np.empty(0, np.int64)
    changes = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.concatenate(([0], np.flatnonzero(changes) + 1))
