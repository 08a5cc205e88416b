"""Small drops with scores, whole and in batches of any size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.calling.calls import call_members
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.frames import REASONS
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.call_tables import write_calls
from virnucpro_assets.storage.calls import CallSummary
from virnucpro_assets.storage.prediction_tables import PredictionSummary, write_predictions
from virnucpro_assets.storage.scored_members import ScoredMembers

DEFAULTS = CallThresholds()
GOLDEN = Path(__file__).parents[1] / "golden" / "tables"


@dataclass(frozen=True)
class ScoredDrop:
    """All reads of a drop in one batch, and all its members in another."""

    reads: ReadTableBatch
    members: ScoredMembers

    def read_batches(self, size: int) -> Iterator[ReadTableBatch]:
        reads = self.reads
        for start in range(0, len(reads.names), size):
            part = slice(start, start + size)
            yield ReadTableBatch(
                start,
                reads.names[part],
                reads.lengths[part],
                reads.chunks[part],
                reads.members[part],
                reads.reasons[part],
                reads.unreadable[part],
            )

    def member_batches(self, size: int) -> Iterator[ScoredMembers]:
        for start in range(0, len(self.members), size):
            yield self.members[start : start + size]

    def predict(self, folder: Path, members: int = 10, reads: int = 4) -> PredictionSummary:
        """Write the tables of predictions from batches of these sizes."""
        return write_predictions(self.member_batches(members), self.read_batches(reads), folder)

    def call(
        self, folder: Path, thresholds: CallThresholds = DEFAULTS, members: int = 10, reads: int = 4
    ) -> CallSummary:
        """Write the tables of calls from batches of these sizes."""
        return write_calls(
            self.member_batches(members),
            self.read_batches(reads),
            folder,
            partial(call_members, thresholds=thresholds),
            np.zeros,
        )


def _scored_drop(
    names: list[str], places: list[tuple[int, int, int]], scores: np.ndarray, reasons: list[int]
) -> ScoredDrop:
    """`places` are (read, chunk, frame) of every member; `reasons` positions in REASONS, one a read."""
    read, chunk, frame = np.array(places, np.int64).reshape(-1, 3).T
    counts = np.bincount(read, minlength=len(names)).astype(np.int32)
    chunks = np.zeros(len(names), np.int32)
    np.maximum.at(chunks, read, chunk.astype(np.int32))
    return ScoredDrop(
        ReadTableBatch(
            0,
            names,
            chunks.astype(np.int64) * 300 + 7,
            chunks,
            counts,
            np.array(reasons, np.int8),
            np.arange(len(names), dtype=np.int32) % 3,
        ),
        ScoredMembers(
            read,
            chunk.astype(np.int32),
            frame.astype(np.int8),
            scores.astype(np.float32),
            np.zeros(len(read), np.int8),
        ),
    )


@pytest.fixture
def golden_tables() -> Path:
    return GOLDEN


@pytest.fixture
def golden_drop() -> ScoredDrop:
    """The members of the golden files, with two reads in between that have no candidate."""
    ids = [line.split("\t")[0] for line in (GOLDEN / "prediction_results.txt").read_text().splitlines()[1:]]
    names: list[str] = []
    reasons: list[int] = []
    places = []
    for name, members in groupby(ids, lambda member: member.rpartition("_chunk_")[0]):
        if len(names) in (3, 9):
            names.append(f"hopeless_{len(names)}")
            reasons.append(REASONS.index("no_stop_free_frame"))
        for member in members:
            place = member.rpartition("_chunk_")[2]
            places.append((len(names), int(place[:-2]), FRAMES.index(place[-2:])))
        names.append(name)
        reasons.append(0)
    return _scored_drop(names, places, np.load(GOLDEN / "scores.npy", allow_pickle=False), reasons)


@pytest.fixture
def random_drop() -> Callable[[int, int], ScoredDrop]:
    """Drops of random reads by seed and number of reads; the scores hit thresholds and extremes."""

    def make(seed: int, count: int) -> ScoredDrop:
        random = np.random.default_rng(seed)
        letters = np.array(list("abXYZ019._|#-é\x01"))
        names = [f"{''.join(random.choice(letters, 3))}{i}" for i in range(count)]
        chunks = random.choice([0, 1, 1, 1, 2, 5, 12], count)
        places = []
        for read, last in enumerate(chunks.tolist()):
            for chunk in range(1, last + 1):
                frames = np.flatnonzero(random.random(6) < 0.4).tolist()
                places += [(read, chunk, frame) for frame in frames]
        virus = random.choice([0.0, 1.0, 0.5, 0.8, 0.3, 0.7, 1e-4, 3e-6, 0.2], len(places))
        uniform = random.random(len(places)) < 0.7
        virus[uniform] = random.beta(0.4, 0.4, int(uniform.sum()))
        virus = virus.astype(np.float32)
        have = {read for read, _, _ in places}
        reasons = [0 if read in have else int(random.integers(1, 5)) for read in range(count)]
        return _scored_drop(names, places, np.stack([np.float32(1) - virus, virus], axis=1), reasons)

    return make
