"""Lines of progress: what they say, and that a display can read them back."""

import time

import pytest

from virnucpro_assets.inference.progress import Progress, Shown, parse_line


def line_of(done: int, total: int | None, seconds: float) -> str:
    """The line of a stage that has run for so long."""
    progress = Progress("esm2", "sequence", total, [].append, interval=1e9)
    progress.started = time.monotonic() - seconds
    progress.advance(done)
    return progress.line()


def test_an_empty_shard_is_nothing_to_compute():
    lines = []
    Progress("esm2", "sequence", 0, lines.append).finish()
    assert lines == ["esm2: nothing to compute"]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (1_200, 4_800, 4.0, "1,200 of 4,800 (25%) sequences, 300 a second, 12 s left"),
        # While a model loads nothing is done, and of the first pack alone nothing follows.
        (0, 8, 24.0, "0 of 8 (0%) sequences"),
        (3, 8, 0.5, "3 of 8 (37%) sequences"),
        # A slow rate is a rate: never "0 a second".
        (1, 8, 10.0, "1 of 8 (12%) sequences, 0.1 a second, 70 s left"),
        (10, 2_000, 4.0, "10 of 2,000 (0%) sequences, 2.5 a second, 13 min left"),
        (9, 40_000, 9.0, "9 of 40,000 (0%) sequences, 1 a second, 11 h 07 min left"),
        (4_799, 4_800, 47.99, "4,799 of 4,800 (99%) sequences, 100 a second, 0 s left"),
        (4_800, 4_800, 48.0, "4,800 of 4,800 (100%) sequences, 100 a second"),
        (700, None, 7.0, "700 sequences, 100 a second"),
        (1, 1, 0.5, "1 of 1 (100%) sequence"),
        (1, None, 2.0, "1 sequence, 0.5 a second"),
    ],
)
def test_a_line_says_the_rate_and_the_rest_where_there_is_something_to_go_by(done, total, seconds, line):
    assert line_of(done, total, seconds) == f"esm2: {line}"
    percent = 100 * done // total if total else None
    assert parse_line(f"esm2: {line}") == Shown("esm2", percent, line)


@pytest.mark.parametrize(
    "line",
    [
        "esm2: nothing to compute",
        "note: 3 of 8 (37%) of the reads are short",
        "d: done",
        "",
        "note: 12 reads",
    ],
)
def test_other_lines_are_no_progress(line):
    assert parse_line(line) is None
