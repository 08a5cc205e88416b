"""What progress says."""

from virnucpro_assets.inference.progress import Progress


def test_what_is_finished_already_has_nothing_to_compute() -> None:
    lines: list[str] = []
    Progress("esm2", "sequences", 0, lines.append).finish()
    assert lines == ["esm2: nothing to compute"]


def test_a_line_tells_the_share_that_is_done() -> None:
    progress = Progress("esm2", "sequences", 4_800, [].append, interval=1e9)
    progress.advance(1_200)
    assert progress.line().startswith("esm2: 1,200 of 4,800 (25%) sequences, ")
