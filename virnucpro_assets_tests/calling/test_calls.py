"""The consensus of chunks and the calls of reads against the rules written out for one read at a time."""

import math
from collections import defaultdict

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.calling.calls import call_chunks, call_reads
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.scored_members import ScoredMembers

Scores = tuple[np.float32, np.float32]

# Where a rule compares, both sides of it; and any other score.
p_virus = st.sampled_from(
    [0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.5, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0]
) | st.floats(0, 1, width=32)
chunk_scores = st.lists(p_virus, min_size=1, max_size=3)
drops = st.lists(st.lists(chunk_scores, max_size=12), max_size=8)
thresholds = st.builds(
    CallThresholds,
    viral_above=st.sampled_from([0.3, 0.0, 0.5]),
    high_above=st.sampled_from([0.6, 0.5]),
    confident_above=st.sampled_from([0.8, 0.7]),
    opposite_below=st.sampled_from([0.3, 0.25]),
    ambiguous_above=st.sampled_from([0.7, 0.45]),
    min_confident_chunks=st.integers(0, 3),
    min_confident_share=st.sampled_from([0.1, 0.0, 0.5]),
    min_chunks=st.integers(1, 6),
)


def members_of(drop: list[list[list[float]]]) -> ScoredMembers:
    """The members of reads given as the P(virus) of the frames of their chunks."""
    places = [
        (read, chunk, frame, virus)
        for read, chunks in enumerate(drop)
        for chunk, frames in enumerate(chunks, 1)
        for frame, virus in enumerate(frames)
    ]
    read, chunk, frame, virus = np.array(places, np.float64).reshape(-1, 4).T
    scores = np.stack([np.float32(1) - virus.astype(np.float32), virus.astype(np.float32)], axis=1)
    return ScoredMembers(
        read.astype(np.int64),
        chunk.astype(np.int32),
        frame.astype(np.int8),
        scores,
        np.zeros(len(places), np.int8),
    )


def largest_scores(members: ScoredMembers) -> dict[int, dict[int, Scores]]:
    """Of each read and chunk the largest P(others) and the largest P(virus)."""
    found: dict[int, dict[int, Scores]] = defaultdict(dict)
    for read, chunk, (others, virus) in zip(
        members.read.tolist(), members.chunk.tolist(), members.scores, strict=True
    ):
        most_others, most_virus = found[read].get(chunk, (others, virus))
        found[read][chunk] = (max(most_others, others), max(most_virus, virus))
    return found


def weighted_delta(chunks: list[Scores]) -> float:
    """By the printed scores."""
    deltas = [float(str(virus)) - float(str(others)) for others, virus in chunks]
    weights = [math.sqrt(abs(delta)) for delta in deltas]
    total = math.fsum(weights)
    return math.fsum(w * d for w, d in zip(weights, deltas, strict=True)) / total if total else 0.0


def figures(chunks: list[Scores], limits: CallThresholds) -> tuple[int, int, int, int, float, float]:
    """Chunks, confidently viral, confidently non-viral and ambiguous ones; the shares of the confident ones."""
    pairs = [(float(str(others)), float(str(virus))) for others, virus in chunks]
    high, low, both = limits.confident_above, limits.opposite_below, limits.ambiguous_above
    viral = sum(virus > high and others < low for others, virus in pairs)
    non_viral = sum(others > high and virus < low for others, virus in pairs)
    ambiguous = sum(others > both and virus > both for others, virus in pairs)
    clear = len(pairs) - ambiguous or 1
    return len(pairs), viral, non_viral, ambiguous, viral / clear, non_viral / clear


def call_and_tier(chunks: list[Scores], limits: CallThresholds, delta: float) -> tuple[str, str]:
    count, viral, non_viral, _, viral_share, non_viral_share = figures(chunks, limits)
    if abs(delta) <= limits.viral_above:
        return "Ambiguous", "review"
    call, confident, share = (
        ("Viral", viral, viral_share) if delta > 0 else ("Non-viral", non_viral, non_viral_share)
    )
    tier = "high_confidence" if abs(delta) > limits.high_above else "moderate_confidence"
    if confident < limits.min_confident_chunks or share < limits.min_confident_share:
        tier = "low_confidence"
    if count < limits.min_chunks:
        tier = "review" if tier == "low_confidence" else "low_confidence"
    return call, tier


@given(drops, thresholds)
@example([[[0.25]], [[0.75]], [[0.5]]], CallThresholds(viral_above=0.5))
def test_calls_are_those_of_the_rules_for_one_read_at_a_time(
    drop: list[list[list[float]]], limits: CallThresholds
) -> None:
    members = members_of(drop)
    expected = largest_scores(members)
    chunks = call_chunks(members)
    reads = call_reads(chunks, limits)
    every_chunk = [(read, chunk, *scores) for read, own in expected.items() for chunk, scores in own.items()]
    assert list(zip(chunks.read, chunks.chunk, *chunks.max_scores.T, strict=True)) == every_chunk
    assert chunks.is_virus.tolist() == [virus >= others for *_, others, virus in every_chunk]
    assert reads.read.tolist() == list(expected)
    by_read = [list(own.values()) for own in expected.values()]
    np.testing.assert_allclose(reads.weighted_delta, list(map(weighted_delta, by_read)), rtol=0, atol=1e-12)
    counted = (reads.chunks, reads.confident_viral, reads.confident_non_viral, reads.ambiguous)
    found = list(zip(*counted, reads.viral_share, reads.non_viral_share, strict=True))
    assert found == [figures(own, limits) for own in by_read]
    assert reads.max_scores.tolist() == [[max(some) for some in zip(*own, strict=True)] for own in by_read]
    # The last bit of a sum may lie on either side of a limit: the call follows from the number that is shown.
    called = [(CALLS[call], TIERS[tier]) for call, tier in zip(reads.call, reads.tier, strict=True)]
    assert called == [
        call_and_tier(own, limits, delta) for own, delta in zip(by_read, reads.weighted_delta, strict=True)
    ]
