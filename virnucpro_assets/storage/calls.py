"""The calls of a drop's chunks and reads, as its tables have them, and their counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from virnucpro_assets.storage.scored_members import JOINT_ALONE, ScoredBy
from virnucpro_assets.storage.tables import Texts
from virnucpro_assets.vocabulary import Route

CALLS = ("Viral", "Non-viral", "Ambiguous")
VIRAL, NON_VIRAL, AMBIGUOUS = range(3)

TIERS = ("high_confidence", "moderate_confidence", "low_confidence", "review")
HIGH, MODERATE, LOW, REVIEW = range(4)

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


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


@dataclass(slots=True)
class CallSummary:
    """Counts of a drop: its reads and its scored chunks.

    `calls` is the number of reads by call and tier, with every combination present; `reasons` the number of reads
    without a call by reason, `routes` that of the others by the classifier that scored them.
    """

    reads: int = 0
    called_reads: int = 0
    chunks: int = 0
    virus_chunks: int = 0
    calls: dict[str, dict[str, int]] = field(
        default_factory=lambda: {call: dict.fromkeys(TIERS, 0) for call in CALLS}
    )
    reasons: dict[str, int] = field(default_factory=dict)
    routes: dict[Route, int] = field(default_factory=dict)

    def add(
        self,
        chunks: ChunkCalls,
        calls: ReadCalls,
        reasons: Texts,
        by: Sequence[ScoredBy] = JOINT_ALONE,
    ) -> None:
        """Add a piece: its chunks, its calls, and a reason (null for a called read) for each read.

        Routes are positions in `by`.
        """
        for number, one in enumerate(by):
            count = int((calls.route == number).sum())
            self.routes[one.route] = self.routes.get(one.route, 0) + count
        self.reads += len(reasons)
        self.called_reads += len(calls.read)
        self.chunks += len(chunks.read)
        self.virus_chunks += int(chunks.is_virus.sum())
        pairs, counts = np.unique(calls.call.astype(np.int64) * len(TIERS) + calls.tier, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.calls[CALLS[pair // len(TIERS)]][TIERS[pair % len(TIERS)]] += count
        for reason, count in Counter(reasons.drop_null().to_pylist()).items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
