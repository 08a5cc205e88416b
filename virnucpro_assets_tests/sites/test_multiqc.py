"""The summary of drops in the real MultiQC."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from virnucpro_assets.reports.summary import write_summary
from virnucpro_assets_tests.reports.test_summary import REPORT

pytestmark = pytest.mark.site


def test_multiqc_shows_the_summary_without_a_configuration(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_summary([REPORT, REPORT.model_copy(update={"drop": "b"})], data / "_summary")
    command = [sys.executable, "-m", "multiqc", "--strict", "--no-version-check", "--outdir", out, data]
    subprocess.run(command, check=True, timeout=300)
    page = (out / "multiqc_report.html").read_text()
    assert "virnucpro_calls_plot" in page
    assert "virnucpro_scores_plot" in page
    statistics = json.loads((out / "multiqc_data" / "multiqc_data.json").read_text())[
        "report_general_stats_data"
    ]
    assert statistics == {
        "custom_content": {
            drop: {"viral_share": 30, "viral_reads": 3, "called_reads": 10, "checks_failed": 1}
            for drop in "ab"
        }
    }
