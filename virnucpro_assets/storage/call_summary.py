"""What the calls of a drop come to, counted while they are written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from virnucpro_assets.storage.calls import CALLS, TIERS, ChunkCalls, ReadCalls
from virnucpro_assets.storage.number_text import Texts
from virnucpro_assets.storage.routes import JOINT_ALONE, ScoredBy
from virnucpro_assets.vocabulary import Route


@dataclass(slots=True)
class CallSummary:
    """Counts of a drop: reads by what became of them, and scored chunks.

    `calls` has the number of reads by call and tier, with every combination present; `reasons`
    has the reads without a call by reason, `routes` the others by what scored them.
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
        """Count a piece: its chunks, its calls, and a reason (null for a called read) for each read.

        Routes are positions in `by`.
        """
        for place, one in enumerate(by):
            count = int((calls.route == place).sum())
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
