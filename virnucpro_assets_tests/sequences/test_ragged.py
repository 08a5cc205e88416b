"""Moving many segments at once against slices."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.sequences.ragged import copy_segments, gather_segments

SOURCE = np.random.default_rng(5).integers(1, 256, 1000, dtype=np.uint8)


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 300), st.integers(0, 3))))
@example([(7 * n % 700, n, n % 2) for n in range(300)])
def test_segments_are_moved_as_slices_are_and_nothing_else_changes(
    segments: list[tuple[int, int, int]],
) -> None:
    starts, lengths, gaps = np.array(segments, np.int64).reshape(-1, 3).T
    pieces = [SOURCE[start : start + length].tobytes() for start, length, _ in segments]
    gathered = gather_segments(SOURCE, starts, lengths)
    assert [gathered[i] for i in range(len(gathered))] == pieces
    target = np.zeros(int((lengths + gaps).sum()), np.uint8)
    copy_segments(SOURCE, starts, lengths, target, np.cumsum(lengths + gaps) - lengths)
    expected = (bytes(gap) + piece for (_, _, gap), piece in zip(segments, pieces, strict=True))
    assert target.tobytes() == b"".join(expected)
