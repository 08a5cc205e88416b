from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.storage import sorted_lines
from virnucpro_assets.storage.sorted_lines import SortedLines

lines = st.text("abc\t\r_019\x01é", max_size=11).map(lambda text: text.encode() + b"\n")


@given(
    st.lists(st.lists(lines, max_size=7).map(b"".join), max_size=40),
    st.sampled_from([1, 50, 300, 1 << 20]),
    st.sampled_from([1, 100]),
)
def test_lines_come_back_in_byte_order_for_any_run_size(
    texts: list[bytes], run_bytes: int, block_bytes: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_lines, "SMALLEST_BLOCK", block_bytes)
        with SortedLines(Path(folder), run_bytes) as sorting:
            for text in texts:
                sorting.add(text)
            assert list(Path(folder).iterdir()) == []
            merged = b"".join(sorting.merged())
    assert merged == b"".join(sorted(line + b"\n" for line in b"".join(texts).split(b"\n")[:-1]))
