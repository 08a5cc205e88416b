"""Dust scores against the formula in plain Python, and of sequences whose score is known."""

from collections import Counter
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.sequences.complexity import DustScores, dust_scores
from virnucpro_assets.sequences.ragged import Ragged

READS = st.lists(st.text("ACGTNacgu", max_size=200).map(str.encode), max_size=5)


def scores(*reads: bytes, chunk_length: int = 300) -> list[float]:
    return dust_scores(Ragged.from_strings(reads), chunk_length).tolist()


def plain_window(bases: bytes) -> float:
    letters = bases.upper().replace(b"U", b"T")
    triplets = [letters[place : place + 3] for place in range(len(letters) - 2)]
    counts = Counter(triplet for triplet in triplets if not set(triplet) - set(b"ACGT"))
    total = sum(counts.values())
    return 10 * sum(count * (count - 1) / 2 for count in counts.values()) / max(total - 1, 1)


def plain_score(chunk: bytes) -> float:
    last = max(len(chunk) - 64, 0)
    starts = sorted({*range(0, last + 1, 32), last})
    return median(plain_window(chunk[start : start + 64]) for start in starts)


@given(READS, st.sampled_from([70, 100, 128, 300]))
def test_the_score_of_a_chunk_is_the_median_of_its_windows_by_the_formula(
    reads: list[bytes], chunk_length: int
) -> None:
    chunks = chunks_of(np.array([len(read) for read in reads], np.int64), chunk_length)
    cut = [
        reads[read][start : start + length]
        for read, start, length in zip(chunks.read, chunks.start, chunks.length, strict=True)
    ]
    found = scores(*reads, chunk_length=chunk_length)
    assert found == pytest.approx([plain_score(chunk) for chunk in cut], rel=1e-6)


def test_repeats_score_high_and_bases_at_random_low() -> None:
    # 62 triplets of one kind, then two kinds of 31 each, then 20 or 21 of each of three.
    assert scores(b"A" * 64, b"AC" * 32, b"ACG" * 22) == pytest.approx([310, 930 / 6.1, 610 / 6.1], rel=0.03)
    generator = np.random.default_rng(1)
    random = generator.choice(np.frombuffer(b"ACGT", np.uint8), 300_000).tobytes()
    found = dust_scores(Ragged.from_strings([random]), 300)
    assert 3 < found.mean() < 6
    assert found.max() < 12


def test_half_of_a_chunk_decides() -> None:
    generator = np.random.default_rng(2)
    random = generator.choice(np.frombuffer(b"ACGT", np.uint8), 300).tobytes()
    tail, most = random[:220] + b"A" * 80, random[:80] + b"A" * 220
    assert scores(tail)[0] < 10
    assert scores(most)[0] > 200


def test_what_has_no_triplet_scores_zero() -> None:
    assert scores(b"", b"A", b"AC", b"N" * 300, b"ACN" * 100) == [0, 0, 0, 0]


def test_scores_are_taken_in_pieces_of_any_size_whatever_the_batches() -> None:
    reads = [b"A" * 700, b"", b"ACGTTGCA" * 40, b"AC" * 100]
    batches = [
        ReadBatch(0, [""] * 2, Ragged.from_strings(reads[:2])),
        ReadBatch(2, [""] * 2, Ragged.from_strings(reads[2:])),
    ]
    dust = DustScores(iter(batches), 300)
    pieces = [dust.take(count) for count in (1, 0, 4, 1)]
    assert np.concatenate(pieces).tolist() == scores(*reads)
    with pytest.raises(IntegrityError, match="found 0 chunks; expected 1 or more"):
        dust.take(1)
