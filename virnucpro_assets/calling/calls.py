"""From scores of frames to calls of chunks, and from those to calls of reads or contigs.

A chunk is virus if the largest P(virus) of its frames is at least the largest P(others). A read's call weighs its
chunks by the difference of their scores. These are the rules that users of VirNucPro (Li et al., Briefings in
Bioinformatics 2025, bbaf224) apply to its chunk file; they parse the scores from its text, so the shortest decimals
are used here too.

With a wanted precision or false discovery rate a chunk is virus, and a read Viral, if the calibrated P(virus) of its
best frame reaches the threshold for it, of the classifier or of the drop. The rules above decide which of the other
reads are Non-viral. A tier of confidence needs a weighted delta on the side of the call, beyond the bound of the
rules above.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.calls import (
    AMBIGUOUS,
    HIGH,
    LOW,
    MODERATE,
    NON_VIRAL,
    REVIEW,
    VIRAL,
    ChunkCalls,
    Counts,
    Doubles,
    ReadCalls,
)
from virnucpro_assets.storage.scored_members import JOINT_ALONE, ScoredBy, ScoredMembers, calibrated
from virnucpro_assets.storage.tables import as_printed


def call_members(
    members: ScoredMembers, thresholds: CallThresholds, by: Sequence[ScoredBy] = JOINT_ALONE
) -> tuple[ChunkCalls, ReadCalls]:
    """The calls of the chunks and reads of `members`, which hold whole reads and are all scored.

    Routes are positions in `by`.
    """
    chunks = call_chunks(members, by)
    return chunks, call_reads(chunks, thresholds, by)


def call_chunks(members: ScoredMembers, by: Sequence[ScoredBy] = JOINT_ALONE) -> ChunkCalls:
    """The consensus of every chunk among `members`, which hold whole chunks and are all scored.

    Routes are positions in `by`.
    """
    starts = _starts(members.read, members.chunk)
    largest = np.maximum.reduceat(members.scores, starts, axis=0) if len(starts) else members.scores
    route = members.route[starts]
    reaches = _reaches_wanted(by, route, largest[:, 1])
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
    reaches = _reaches_wanted(by, route, largest[:, 1])
    is_viral = weighted_delta > thresholds.viral_above if reaches is None else reaches
    is_non_viral = weighted_delta < -thresholds.viral_above
    call = np.select([is_viral, is_non_viral], [VIRAL, NON_VIRAL], AMBIGUOUS)
    # A threshold of the calibration may call a read against its weighted delta: then confidence is low.
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
    """int64 [groups]: the start of each run of equal keys."""
    if len(keys[0]) == 0:
        return np.empty(0, np.int64)
    changes = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.concatenate(([0], np.flatnonzero(changes) + 1))


def _reaches_wanted(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_] | None:
    """bool [n]: which P(virus) reach the wanted precision of their classifier; None if none is wanted."""
    if by[0].threshold is None:
        return None
    thresholds = np.array([one.threshold for one in by], np.float64)
    return np.asarray(calibrated(by, route, p_virus) >= thresholds[route])
