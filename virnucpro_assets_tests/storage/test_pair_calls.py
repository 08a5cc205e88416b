from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.storage import pair_calls
from virnucpro_assets.storage.pair_calls import pair_call, write_pair_calls
from virnucpro_assets.storage.sorted_lines import SortedLines

HEADER = (
    "pair\tcall\tmate1_call\tmate1_tier\tmate1_max_score_1\tmate1_reason"
    "\tmate2_call\tmate2_tier\tmate2_max_score_1\tmate2_reason\n"
)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("Viral", "Viral", "Viral"),
        ("Viral", "Ambiguous", "Viral"),
        ("Viral", "", "Viral"),
        ("Viral", "Non-viral", "Ambiguous"),
        ("Non-viral", "Non-viral", "Non-viral"),
        ("Non-viral", "Ambiguous", "Non-viral"),
        ("Non-viral", "", "Non-viral"),
        ("Ambiguous", "Ambiguous", "Ambiguous"),
        ("Ambiguous", "", "Ambiguous"),
        ("", "", ""),
    ],
)
def test_a_pair_has_the_call_of_its_mates_unless_they_contradict_each_other(
    first: str, second: str, both: str
) -> None:
    assert pair_call([first, second]) == both
    assert pair_call([second, first]) == both


def read_calls(folder: Path, *rows: tuple[str, str | None, str | None, float | None, str | None]) -> Path:
    """A table of reads with these names, calls, tiers, scores and reasons."""
    columns = [*zip(*rows, strict=True)] or [()] * 5
    kinds = (pa.string(), pa.string(), pa.string(), pa.float32(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    path = folder / "read_calls.parquet"
    pq.write_table(
        pa.table(arrays, names=["name", "call", "tier", "max_score_1", "reason"]),
        path,
        row_group_size=2,
        write_page_checksum=True,
    )
    return path


@pytest.mark.parametrize("run_bytes", [1, 1 << 20])
def test_every_read_is_in_one_row_beside_its_mate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int
) -> None:
    monkeypatch.setattr(pair_calls, "SortedLines", partial(SortedLines, run_bytes=run_bytes))
    table = read_calls(
        tmp_path,
        ("b/1", "Viral", "low_confidence", 0.75, None),
        ("a/1", None, None, None, "no_stop_free_frame"),
        ("a", "Ambiguous", "review", 0.5, None),
        ("lone/2", "Non-viral", "review", 0.00001, None),
        ("b-/1", None, None, None, "too_short"),
        ("b/2", "Non-viral", "low_confidence", 0.1, None),
        ("a/2", "Viral", "review", 1.0, None),
        ("b-/2", None, None, None, "empty"),
        ("ü/3", "Viral", "review", 0.625, None),
    )
    assert write_pair_calls(table, tmp_path / "pairs.tsv") == 6
    assert (tmp_path / "pairs.tsv").read_text() == HEADER + (
        "a\tAmbiguous\tAmbiguous\treview\t0.5\t\t\t\t\tmissing\n"
        "a\tViral\t\t\t\tno_stop_free_frame\tViral\treview\t1.0\t\n"
        "b\tAmbiguous\tViral\tlow_confidence\t0.75\t\tNon-viral\tlow_confidence\t0.1\t\n"
        "b-\t\t\t\t\ttoo_short\t\t\t\tempty\n"
        "lone\tNon-viral\t\t\t\tmissing\tNon-viral\treview\t1e-05\t\n"
        "ü/3\tViral\tViral\treview\t0.625\t\t\t\t\tmissing\n"
    )


def test_repeated_names_are_pairs_by_their_numbers_unless_it_is_unclear_which_belong_together(
    tmp_path: Path,
) -> None:
    viral, not_viral = ("Viral", "review", 0.75, None), ("Non-viral", "review", 0.25, None)
    twelfth = [(f"r/{mate}_{number}", *viral) for mate in (1, 2) for number in range(1, 12)]
    table = read_calls(
        tmp_path,
        ("r/1", *viral),
        ("r/2", *not_viral),
        *twelfth,
        ("s/1", *viral),
        ("s/1_1", *not_viral),
        ("s/2", *viral),
        ("t/2_1", *viral),
        ("u_1", *viral),
    )
    assert write_pair_calls(table, tmp_path / "pairs.tsv") == 17
    rows = [line.split("\t") for line in (tmp_path / "pairs.tsv").read_text().splitlines()[1:]]
    assert [(row[0], row[1], row[2], row[6]) for row in rows] == [
        ("r", "Ambiguous", "Viral", "Non-viral"),
        *((f"r_{number}", "Viral", "Viral", "Viral") for number in range(1, 12)),
        ("s", "Viral", "Viral", ""),
        ("s_1", "Non-viral", "Non-viral", ""),
        ("s", "Viral", "", "Viral"),
        ("t_1", "Viral", "", "Viral"),
        ("u_1", "Viral", "Viral", ""),
    ]
    assert [(row[0], row[5], row[9]) for row in rows if row[5] or row[9]] == [
        ("s", "", "unclear"),
        ("s_1", "", "unclear"),
        ("s", "unclear", ""),
        ("t_1", "missing", ""),
        ("u_1", "", "missing"),
    ]


def test_without_reads_the_table_has_its_header_only(tmp_path: Path) -> None:
    assert write_pair_calls(read_calls(tmp_path), tmp_path / "pairs.tsv") == 0
    assert (tmp_path / "pairs.tsv").read_text() == HEADER
