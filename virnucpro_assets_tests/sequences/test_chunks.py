"""Chunks against the rule written out for one read at a time."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("chunk_length", [3, 7, 300, 500])
def test_every_read_length_is_cut_by_the_rule(chunk_length: int) -> None:
    lengths = np.arange(7 * chunk_length + 2)
    chunks = chunks_of(lengths, chunk_length)
    expected = [
        (read, number, start, end - start)
        for read in lengths.tolist()
        for number, (start, end) in enumerate(naive_chunks(read, chunk_length), 1)
    ]
    found = zip(chunks.read, chunks.number, chunks.start, chunks.length, strict=True)
    assert [tuple(map(int, chunk)) for chunk in found] == expected
    assert chunks.per_read.tolist() == [-(-length // chunk_length) for length in lengths.tolist()]


def test_one_base_over_the_chunk_length_makes_a_short_second_chunk() -> None:
    chunks = chunks_of(np.array([301]), 300)
    assert chunks.start.tolist() == [0, 150]
    assert chunks.length.tolist() == [300, 151]


def test_every_base_of_a_read_lies_in_a_chunk() -> None:
    chunks = chunks_of(np.array([123_457]), 500)
    ends = chunks.start + chunks.length
    assert chunks.start[0] == 0
    assert ends[-1] == 123_457
    assert np.all(chunks.start[1:] <= ends[:-1])


def test_no_reads_have_no_chunks() -> None:
    assert len(chunks_of(np.zeros(0, np.int64), 300).read) == 0


def test_a_chunk_shorter_than_a_codon_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk_length is 2; expected at least 3 bases"):
        chunks_of(np.array([10]), 2)
