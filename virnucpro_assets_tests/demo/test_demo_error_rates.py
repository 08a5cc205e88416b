"""The expected share of wrong calls in the demo drop, against the true one."""

import json
import sys
from pathlib import Path

import pytest

from tools.demo.error_rates import main
from virnucpro_assets.demo.evaluation import WANTED_RATES
from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE
from virnucpro_assets_tests.calling.test_region_tables import write_tables

TOLERANCE = 0.06
"""Twice the standard error of a share of 0.2 among 200 reads, which overlap."""


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The command on a table of calls: what it writes as JSON."""

    def measure(read_calls: Path):
        out = tmp_path / "rates.json"
        monkeypatch.setattr(sys, "argv", ["error_rates", str(read_calls), "--json", str(out)])
        main()
        return json.loads(out.read_text())

    return measure


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_expected_share_of_wrong_calls_is_the_true_one_on_held_out_reads(tmp_path, measured, capsys):
    settings = Settings(data_root=tmp_path / "data", devices="cpu:1", ranks=1, check_sample=4)
    register_reads("demo", [ReadFile(DROP_FILE)], settings)
    run_drop("demo", settings, lambda _: None)
    found = measured(DropWork.on("demo", settings).folder.calls / READ_CALLS_FILE)
    assert [rate["wanted"] for rate in found] == list(WANTED_RATES)
    assert all(rate["reads"] >= 100 for rate in found)
    for rate in found:
        assert rate["wanted"] - 0.01 <= rate["expected"] <= rate["wanted"]
        assert rate["true"] == pytest.approx(rate["expected"], abs=TOLERANCE)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["q-value at most", "reads", "expected share", "true share"]
    assert [float(line[0]) for line in lines[1:]] == list(WANTED_RATES)
    assert [float(line[3]) for line in lines[1:]] == pytest.approx([rate["true"] for rate in found], abs=5e-4)


def test_calls_without_a_calibration_are_refused(tmp_path, measured):
    write_tables(tmp_path, {"demo_0001": (300, {1: 0.9})})
    with pytest.raises(InputError, match="found no q-value; expected the calls of the demo drop"):
        measured(tmp_path / READ_CALLS_FILE)
