"""The record of deliveries that are no drops, and what has no results."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.intake.open_deliveries import (
    FILE,
    LISTED,
    open_delivery_lines,
    read_open_deliveries,
    record_scan,
)
from virnucpro_assets.intake.registration import list_drop, register_delivery
from virnucpro_assets.reports.drop_state import DropState, missing_drops
from virnucpro_assets_tests.arriving import Arrivals


@pytest.fixture
def arrivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    """Deliveries of the working folder, at times near the epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    for name in ("VIRNUCPRO_DATA_ROOT", "VIRNUCPRO_DROPS_FOLDER", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    arrivals = Arrivals.under(tmp_path)
    arrivals.now = 0
    return arrivals


def record(arrivals: Arrivals) -> list[tuple[str, str, float]]:
    """The next scan, written down and read again."""
    found = record_scan(arrivals.scan(), arrivals.settings, arrivals.now)
    assert read_open_deliveries(arrivals.settings) == found
    return [(one.name, one.state, one.since) for one in found.deliveries]


def test_the_record_says_since_which_scan_a_delivery_is_what_it_is(arrivals: Arrivals) -> None:
    arrivals.write("a b/a.fa")
    arrivals.write("d/a.fa")
    assert record(arrivals) == [("a b/", "refused", 31), ("d/", "settling", 31)]
    assert record(arrivals) == [("a b/", "refused", 31), ("d/", "settling", 31)]
    assert record(arrivals) == [("a b/", "refused", 31), ("d/", "ready", 93)]
    arrivals.take(arrivals.scan())
    assert record(arrivals) == [("a b/", "refused", 31)]
    (arrivals.drops / "a b").rename(arrivals.drops / "ab")
    assert record(arrivals) == [("ab/", "settling", arrivals.now)]


def test_a_record_is_written_only_if_it_changes_and_made_anew_if_it_is_damaged(arrivals: Arrivals) -> None:
    arrivals.write("a b/a.fa")
    before = record(arrivals)
    path = arrivals.settings.data_root / FILE
    inode = path.stat().st_ino
    assert record(arrivals) == before
    assert path.stat().st_ino == inode
    path.write_text(path.read_text().replace("refused", "settling"))
    assert list(open_delivery_lines(arrivals.settings)) == []
    assert record(arrivals) == [("a b/", "refused", arrivals.now)]


def test_a_flood_of_refused_names_is_cut(arrivals: Arrivals) -> None:
    for number in range(LISTED + 20):
        arrivals.write(f"{number} x.fa")
    arrivals.write("d/a.fa")
    assert len(record(arrivals)) == LISTED
    *lines, last = open_delivery_lines(arrivals.settings)
    assert (len(lines), last) == (LISTED, "and 21 more")
    assert {line.split()[0] for line in lines} == {"refused"}


def test_what_became_a_drop_since_the_scan_is_ready_no_more(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.write("e/a.fa")
    found = record_scan(arrivals.wait(), arrivals.settings, arrivals.now)
    assert [(one.key, one.state) for one in found.deliveries] == [("d", "ready"), ("e", "ready")]
    list_drop("d", arrivals.settings)
    (line,) = open_delivery_lines(arrivals.settings)
    assert line.startswith("ready since ")
    assert line.endswith("  e/")


def test_drops_prints_what_is_no_drop_after_the_drops(arrivals: Arrivals) -> None:
    arrivals.write("taken/a.fa")
    arrivals.take(arrivals.wait())
    arrivals.write("a\x1bb/a.fa")
    arrivals.write("d/a.fa.part")
    record(arrivals)
    done = CliRunner().invoke(app, ["drops"])
    assert done.exit_code == 0, done.output
    header, drop, refused, settling = done.stdout.splitlines()
    assert (header.split()[0], drop.split()[0]) == ("drop", "taken")
    assert refused.endswith(
        "  a\\x1bb/: a name that no drop can have (1 to 64 letters, digits, '-' and '_', the first a letter or digit)"
    )
    assert refused.startswith("refused since 1970-01-01 00:02")
    assert settling.endswith("  d/: a.fa.part, which is still being copied")


def test_missing_lists_drops_and_whole_deliveries_without_results(arrivals: Arrivals) -> None:
    for name in ("done", "listed", "changed", "registered"):
        arrivals.write(f"{name}/a.fa")
        list_drop(name, arrivals.settings)
    (arrivals.settings.data_root / "registered" / "current.toml").unlink()
    arrivals.write("changed/b.fa", ">b\nATG\n")
    for delivery in arrivals.wait().of("changed"):
        register_delivery(delivery, arrivals.settings)
    arrivals.write("before/a.fa")
    arrivals.write("s_R1.fq")
    arrivals.write("copied/a.fa.part")
    arrivals.write("a b.fa")
    arrivals.write("held.fq")
    arrivals.write("s.csv", "fastq_1\nheld.fq\n")
    lacks = {
        "before": "it was delivered",
        "changed": "its files changed",
        "done": "its files are listed; next: the index",
        "listed": "its files are listed; next: the index",
        "registered": "its files are not listed",
        "s": "it was delivered",
    }
    assert {key: state.reason for key, state in missing_drops(arrivals.settings, {}).items()} == lacks
    done = CliRunner().invoke(app, ["drops", "--missing"])
    assert (done.exit_code, done.stderr) == (
        0,
        "refused  a b.fa: a name that no drop can have (1 to 64 letters, digits, '-' and '_', the first a letter or "
        "digit)\n"
        "refused  s.csv: line 1: found no column sample; expected the header of a sample sheet. Correct the sheet; its "
        "columns are sample,fastq_1,fastq_2.\n",
    )
    assert done.stdout.splitlines() == [
        f"virnucpro materialize {key}  # not begun: {lack}" for key, lack in sorted(lacks.items())
    ]
    record(arrivals)
    assert missing_drops(arrivals.settings, {}).keys() == lacks.keys() - {"before", "s"}


@pytest.mark.slow
@pytest.mark.usefixtures("cold_devices")
def test_missing_may_be_run_and_names_what_fails(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "cpu:1")
    monkeypatch.setenv("VIRNUCPRO_CHECK_SAMPLE", "4")
    monkeypatch.setenv("VIRNUCPRO_LOCKS_FOLDER", str(arrivals.root / "locks"))
    arrivals.write("bad/a.fa", "no reads")
    arrivals.write("good.fa")
    done = CliRunner().invoke(app, ["drops", "--missing", "--run"])
    assert done.exit_code == 2
    assert done.stdout == "good: done\n", done.stderr[-2000:]
    assert "bad: " in done.stderr
    assert "found content that starts with 'no reads'" in done.stderr
    assert arrivals.store.current("good")[1].report.exists()
    (bad,) = missing_drops(arrivals.settings, {}).items()
    assert bad == ("bad", DropState("not begun", "its files are listed; next: the index", 2))
    listed = CliRunner().invoke(app, ["drops", "--missing"])
    (line,) = listed.stdout.splitlines()
    assert line.startswith("virnucpro materialize bad  # failed: ")
    assert "found content that starts with 'no reads'" in line


SAMPLES = """sample,fastq_1,fastq_2
missing,no.fq,
twice,a.fq,a.fq
a b,c.fq,
"""


PREDICT_MISTAKES = [
    (
        ["--sheet", "s.csv"],
        [
            "twice: s.csv, line 3: found 'a.fq' as in line 3; expected each file once. Correct the sheet; its "
            "columns are sample,fastq_1,fastq_2.",
            "missing: {root}/no.fq: found no file; expected a file of reads. Check the path; give the files of "
            "a folder one by one.",
            "a b: drop key, 'a b': found a name of 3 characters that does not fit; expected 1 to 64 letters, digits, "
            "'-' or '_', the first a letter or digit. Choose another name.",
        ],
    ),
    (
        ["--sheet", "none.csv"],
        [
            "error: none.csv: found no file; expected a sample sheet. Check the path; give the files of a "
            "folder one by one."
        ],
    ),
    (
        ["--sheet", "empty.csv"],
        ["error: empty.csv: found no samples; expected a row for each sample. Add the rows."],
    ),
    (
        ["--sheet", "s.csv", "--name", "x"],
        [
            "error: options: found --sheet beside READS, --name, --paired or --interleaved; expected files of "
            "reads, or a sample sheet alone (--sheet). A sheet says names and pairs itself."
        ],
    ),
    (
        [],
        [
            "error: options: found no READS; expected files of reads, or a sample sheet alone (--sheet). Give the "
            "files."
        ],
    ),
]


@pytest.mark.parametrize(("arguments", "lines"), PREDICT_MISTAKES)
def test_predict_says_what_is_wrong_with_a_sheet_and_its_samples(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch, arguments: list[str], lines: list[str]
) -> None:
    monkeypatch.chdir(arrivals.root)
    Path("s.csv").write_text(SAMPLES)
    Path("empty.csv").write_text("sample,fastq_1\n")
    done = CliRunner().invoke(app, ["predict", *arguments, "--out", "out"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [line.format(root=arrivals.root) for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("cold_devices")
def test_predict_makes_one_drop_a_sample_of_a_sheet(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "cpu:1")
    monkeypatch.setenv("VIRNUCPRO_CHECK_SAMPLE", "4")
    monkeypatch.setenv("VIRNUCPRO_LOCKS_FOLDER", str(arrivals.root / "locks"))
    monkeypatch.chdir(arrivals.root)
    for name, reads in (("l_1.fa", "ab"), ("l_2.fa", "ab"), ("w.fa", "c")):
        Path(name).write_text("".join(f">{read}\nATGGCTGCAGGTCTG\n" for read in reads))
    Path("s.csv").write_text("sample;fastq_1;fastq_2\nliver;l_1.fa;l_2.fa\nbad;;\nwater;w.fa;\n")
    done = CliRunner().invoke(app, ["predict", "--sheet", "s.csv", "--out", "out"])
    assert done.exit_code == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[0].startswith("bad: s.csv, line 3: found nothing in column fastq_1; ")
    assert arrivals.store.keys() == ["liver", "water"]
    assert arrivals.names_of("liver") == [("l_1.fa", 1), ("l_2.fa", 2)]
    names = {
        drop: pq.read_table(f"out/{drop}/read_calls.parquet", columns=["name"])["name"].to_pylist()
        for drop in ("liver", "water")
    }
    assert names == {"liver": ["a/1", "b/1", "a/2", "b/2"], "water": ["c"]}
