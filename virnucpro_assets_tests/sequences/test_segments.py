"""Moving many segments at once against slices."""

import numpy as np

from virnucpro_assets.sequences.segments import copy_segments, gather_segments


def test_segments_of_many_lengths_are_laid_end_to_end() -> None:
    rng = np.random.default_rng(5)
    source = rng.integers(0, 256, 5000, dtype=np.uint8)
    lengths = rng.integers(0, 700, 300)
    starts = rng.integers(0, 4300, 300)
    gathered = gather_segments(source, starts, lengths)
    expected = [
        source[start : start + length].tobytes() for start, length in zip(starts, lengths, strict=True)
    ]
    assert [gathered[i] for i in range(300)] == expected


def test_bytes_between_the_targets_stay_as_they_were() -> None:
    target = np.full(12, ord("."), np.uint8)
    source = np.frombuffer(b"abcdefgh", np.uint8)
    copy_segments(source, np.array([1, 0, 5]), np.array([3, 2, 0]), target, np.array([1, 6, 9]))
    assert target.tobytes() == b".bcd..ab...."


def test_no_segments_gather_to_nothing() -> None:
    none = np.zeros(0, np.int64)
    assert len(gather_segments(np.zeros(4, np.uint8), none, none)) == 0
