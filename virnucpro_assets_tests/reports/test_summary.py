import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.cli import app
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError
from virnucpro_assets.reports.drop_report import DropReport, ModelFigures, StageFigures
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.reports.summary import (
    CALLS_PLOT,
    PARQUET,
    SCORES_PLOT,
    STATISTICS,
    SUMMARY_FILES,
    TABLE,
    SummaryRow,
    wilson_interval,
    write_summary,
)

REPORT = DropReport(
    drop="a",
    generation="0123456789ab",
    made_by="virnucpro-assets 1",
    models=[ModelFigures(role="esm2", name="small", digest="f" * 64)],
    reads=12,
    bases=3600,
    calls={
        "Viral": {"high_confidence": 1, "review": 2},
        "Non-viral": {"review": 5},
        "Ambiguous": {"review": 2},
    },
    hits=2,
    stages=[StageFigures(name="index", seconds=1.25), StageFigures(name="esm2", seconds=2.5)],
    checks=[
        CheckResult(name=name, asset="x", passed=passed, threshold="")
        for name, passed in (("a", True), ("b", False))
    ],
    scores=Histogram(edges=[0.0, 0.5, 1.0], counts=[3, 1]),
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # The last two are the examples of Newcombe, Statistics in Medicine 1998, table I, method 3.
    [
        (0, 0, 0, 1),
        (0, 10, 0, 0.27754),
        (10, 10, 0.72246, 1),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_the_interval_of_a_share_is_wilsons(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_a_drop_is_a_row_in_both_tables(tmp_path: Path) -> None:
    (row,) = write_summary([REPORT], tmp_path)
    low, high = wilson_interval(3, 10)
    assert row == SummaryRow(
        drop="a",
        generation="0123456789ab",
        reads=12,
        bases=3600,
        called_reads=10,
        viral_reads=3,
        viral_share=0.3,
        viral_share_low=low,
        viral_share_high=high,
        hits=2,
        expected_false_calls=None,
        checks_passed=1,
        checks_failed=1,
        seconds=3.75,
        devices="",
        software="virnucpro-assets 1",
        models="esm2 small ffffffffffff",
    )
    text = pd.read_csv(tmp_path / TABLE, sep="\t", keep_default_na=False)
    assert text.to_dict("records") == [row.model_dump() | {"expected_false_calls": ""}]
    table = pd.read_parquet(tmp_path / PARQUET).astype({"expected_false_calls": object})
    assert table.where(table.notna(), None).to_dict("records") == [row.model_dump()]


def test_the_expected_number_of_false_calls_is_in_both_tables(tmp_path: Path) -> None:
    known = REPORT.model_copy(update={"drop": "b", "expected_false_calls": 1.25})
    write_summary([REPORT, known], tmp_path)
    for table in (pd.read_csv(tmp_path / TABLE, sep="\t"), pd.read_parquet(tmp_path / PARQUET)):
        assert table.expected_false_calls.isna().tolist() == [True, False]
        assert table.expected_false_calls[1] == 1.25


def test_without_a_drop_the_tables_have_headers_alone(tmp_path: Path) -> None:
    assert write_summary([], tmp_path) == []
    assert (tmp_path / TABLE).read_text() == "\t".join(SummaryRow.model_fields) + "\n"
    assert list(pd.read_parquet(tmp_path / PARQUET).columns) == list(SummaryRow.model_fields)
    assert {path.name for path in tmp_path.iterdir()} == {*SUMMARY_FILES, ".virnucpro.toml"}


def test_the_content_for_multiqc_has_the_figures_of_each_drop(tmp_path: Path) -> None:
    write_summary([REPORT, REPORT.model_copy(update={"drop": "b", "scores": None})], tmp_path)
    data = {
        name: json.loads((tmp_path / name).read_text())["data"]
        for name in (STATISTICS, CALLS_PLOT, SCORES_PLOT)
    }
    assert data[STATISTICS]["b"] == {
        "viral_share": 30,
        "viral_reads": 3,
        "called_reads": 10,
        "checks_failed": 1,
    }
    assert data[CALLS_PLOT]["a"] == {"Viral": 3, "Non-viral": 5, "Ambiguous": 2, "no call": 2}
    assert data[SCORES_PLOT] == {"a": {"0.0": 0.75, "0.5": 0.25}}


def test_a_file_of_others_in_the_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("mine")
    with pytest.raises(InputError, match="was not written here"):
        write_summary([REPORT], tmp_path)
    assert (tmp_path / TABLE).read_text() == "mine"


def test_a_finished_drop_has_the_figures_of_its_report(finished: DropWork) -> None:
    report = gather_report(finished)
    (row,) = write_summary([report], finished.settings.data_root / "_summary")
    assert (row.drop, row.reads, row.called_reads) == ("d", report.reads, report.called_reads)
    assert row.devices == "cpu:0"
    assert row.seconds > 0


def test_the_command_summarises_the_drops_that_are_finished(
    finished: DropWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished.settings.data_root / "_summary"
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", str(finished.settings.data_root))
    done = CliRunner().invoke(app, ["summary"])
    assert (done.exit_code, done.stderr, done.stdout) == (0, "", f"1 drop in {folder}\n")
    assert len(pd.read_csv(folder / TABLE, sep="\t")) == 1
