"""Members with their scores, grouped by the reads they come from.

Members and reads are two streams in input order, each with batches of its own. `scored_reads` cuts both at the same
reads, so that tables are written from whole reads, with at most PIECE_MEMBERS members at a time unless a single read
has more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.vocabulary import Route

PIECE_MEMBERS = 1 << 16

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """A classifier as the tables see it.

    `calibrate` computes calibrated P(virus) from raw ones, float64 of the same shape; None if its card has no
    calibration. `threshold` is the lowest calibrated P(virus) that reaches the wanted precision or
    false discovery rate, None without one.
    """

    route: Route = "joint"
    calibrate: Callable[[npt.NDArray[np.float32]], Doubles] | None = None
    threshold: float | None = None


JOINT_ALONE = (ScoredBy(),)
"""One classifier that takes both embeddings, without a calibration."""


@dataclass(frozen=True, slots=True)
class ScoredMembers:
    """Consecutive members in input order.

    `read` int64 [m] is the read's position in the drop, `chunk` int32 [m] counts from 1, `frame`
    int8 [m] is a position in FRAMES, `scores` float32 [m, 2] are P(others) and P(virus): NaN for a
    member that could not be scored. `route` int8 [m] is the position of the classifier that scored it.
    """

    read: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int8]
    scores: npt.NDArray[np.float32]
    route: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.read)

    def __getitem__(self, which: slice | npt.NDArray[np.bool_]) -> "ScoredMembers":
        return ScoredMembers(*(getattr(self, column.name)[which] for column in fields(self)))

    @property
    def is_scored(self) -> npt.NDArray[np.bool_]:
        """bool [m]: the members that have scores."""
        return np.asarray(np.isfinite(self.scores).all(axis=1))


@dataclass(frozen=True, slots=True)
class ScoredReads:
    """Consecutive reads and all their members."""

    reads: ReadTableBatch
    members: ScoredMembers


def scored_reads(
    members: Iterator[ScoredMembers], reads: Iterator[ReadTableBatch], piece_members: int = PIECE_MEMBERS
) -> Iterator[ScoredReads]:
    """Pair the streams, in input order, in pieces of whole reads.

    Raises IntegrityError if members and reads do not match.
    """
    source = _MemberSource(members)
    for batch in reads:
        for piece in _pieces(batch, piece_members):
            counts = piece.members.astype(np.int64)
            taken = source.take(int(counts.sum()))
            expected = np.repeat(np.arange(piece.first, piece.first + len(counts)), counts)
            if not np.array_equal(taken.read, expected):
                raise IntegrityError(
                    "scores",
                    found=f"other members at the reads from {excerpt(repr(piece.names[0]))} on",
                    expected=f"the {len(expected)} of the drop's index",
                    advice="Make the predictions again from the current index.",
                )
            yield ScoredReads(piece, taken)
    if len(source.take(1)):
        raise IntegrityError(
            "scores",
            found="more members than the drop's index has",
            expected="a score for each member of the index, and no more",
            advice="Make the predictions again from the current index.",
        )


class _MemberSource:
    """A stream of members from which any number can be taken, whatever the size of its batches."""

    def __init__(self, batches: Iterator[ScoredMembers]) -> None:
        self._batches = batches
        self._rest = ScoredMembers(
            np.empty(0, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.int8),
            np.empty((0, 2), np.float32),
            np.empty(0, np.int8),
        )

    def take(self, count: int) -> ScoredMembers:
        """The next `count` members; fewer if the stream ends."""
        pieces, have = [self._rest], len(self._rest)
        while have < count and (batch := next(self._batches, None)) is not None:
            pieces.append(batch)
            have += len(batch)
        together = _concatenated(pieces)
        self._rest = together[count:]
        return together[:count]


def _concatenated(pieces: list[ScoredMembers]) -> ScoredMembers:
    if len(pieces) == 1:
        return pieces[0]
    return ScoredMembers(
        *(
            np.concatenate([getattr(piece, column.name) for piece in pieces])
            for column in fields(ScoredMembers)
        )
    )


def _pieces(batch: ReadTableBatch, piece_members: int) -> Iterator[ReadTableBatch]:
    """Cut `batch` where the running count of members passes a multiple of `piece_members`."""
    piece = (np.cumsum(batch.members, dtype=np.int64) - 1) // piece_members
    cuts = (np.flatnonzero(np.diff(piece)) + 1).tolist()
    for start, end in zip(chain([0], cuts), chain(cuts, [len(batch.names)]), strict=True):
        if start == end:
            continue
        yield ReadTableBatch(
            batch.first + start,
            batch.names[start:end],
            batch.lengths[start:end],
            batch.chunks[start:end],
            batch.members[start:end],
            batch.reasons[start:end],
            batch.unreadable[start:end],
        )


def calibrated(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> Doubles:
    """float64 [n]: calibrated P(virus), NaN by a classifier without a calibration; `route` are positions in `by`."""
    values = np.full(len(route), np.nan)
    for number, one in enumerate(by):
        if one.calibrate is not None:
            values[route == number] = one.calibrate(p_virus[route == number])
    return values


def calibrated_column(
    by: Sequence[ScoredBy], route: npt.NDArray[np.int8], p_virus: npt.NDArray[np.float32]
) -> Any:
    """Arrow double [n]: calibrated P(virus), null by a classifier without a calibration."""
    values = calibrated(by, route, p_virus)
    return pa.array(values, mask=np.isnan(values))
