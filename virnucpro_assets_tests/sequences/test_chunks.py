"""Chunks against the rule written out for one read at a time."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.sequences.chunks import chunks_of


def naive_chunks(length: int, chunk_length: int) -> list[tuple[int, int]]:
    """(start, end) of each chunk of one read."""
    count = -(-length // chunk_length)
    surplus = count * chunk_length - length
    shifts = []
    for junction in range(count - 1):
        share = surplus // count
        shifts.append(share + 1 if junction < surplus - share * (count - 1) else share)
    starts = [i * chunk_length - sum(shifts[:i]) for i in range(count)]
    return [(start, min(start + chunk_length, length)) for start in starts]


@given(st.lists(st.integers(0, 2000)), st.integers(3, 600))
@example(list(range(7 * 7)), 7)
@example(list(range(7 * 300)), 300)
@example(list(range(7 * 500)), 500)
@example([123_457], 500)
def test_every_read_is_cut_by_the_rule(lengths: list[int], chunk_length: int) -> None:
    chunks = chunks_of(np.array(lengths, np.int64), chunk_length)
    expected = [
        (read, number, start, end - start)
        for read, length in enumerate(lengths)
        for number, (start, end) in enumerate(naive_chunks(length, chunk_length), 1)
    ]
    found = zip(chunks.read, chunks.number, chunks.start, chunks.length, strict=True)
    assert [tuple(map(int, chunk)) for chunk in found] == expected
    assert chunks.per_read.tolist() == [-(-length // chunk_length) for length in lengths]


def test_one_base_over_the_chunk_length_makes_a_short_second_chunk() -> None:
    chunks = chunks_of(np.array([301]), 300)
    assert chunks.start.tolist() == [0, 150]
    assert chunks.length.tolist() == [300, 151]


def test_a_chunk_shorter_than_a_codon_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk_length is 2; expected at least 3 bases"):
        chunks_of(np.array([10]), 2)
