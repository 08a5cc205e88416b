import random

import pytest

from virnucpro_assets.storage import sorted_lines
from virnucpro_assets.storage.sorted_lines import SortedLines


@pytest.mark.parametrize("run_bytes", [1, 50, 3000, 1 << 20])
@pytest.mark.parametrize("block_bytes", [1, 100])
def test_lines_come_back_in_byte_order_for_any_run_size(tmp_path, monkeypatch, run_bytes, block_bytes):
    monkeypatch.setattr(sorted_lines, "SMALLEST_BLOCK", block_bytes)
    source = random.Random(5)
    lines = [
        bytes(source.choices(b"abc\t\r_019\x01\xc3", k=source.randrange(12))) + b"\n" for _ in range(900)
    ]
    with SortedLines(tmp_path, run_bytes) as sorting:
        for start in range(0, len(lines), 7):
            sorting.add(b"".join(lines[start : start + 7]))
        merged = b"".join(sorting.merged())
    assert merged == b"".join(sorted(lines))


def test_no_lines_come_back_as_nothing(tmp_path):
    with SortedLines(tmp_path) as sorting:
        sorting.add(b"")
        assert b"".join(sorting.merged()) == b""


def test_the_temporary_file_has_no_name(tmp_path):
    with SortedLines(tmp_path, run_bytes=1) as sorting:
        sorting.add(b"b\na\n")
        assert list(tmp_path.iterdir()) == []
        assert b"".join(sorting.merged()) == b"a\nb\n"
