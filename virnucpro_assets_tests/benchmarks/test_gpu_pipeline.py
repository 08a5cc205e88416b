"""The measurement of a whole job, on small models: its figures, its kill, and the file that parts add to."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu.models import SMALL_DNABERT_S
from benchmarks.gpu.pipeline import Trial, device_figures, killed
from benchmarks.gpu.results import add
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.storage.provenance import Telemetry


@pytest.mark.slow
def test_a_killed_run_gives_the_rows_of_one_that_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protein = Esm2Config(num_hidden_layers=6, hidden_size=128, num_attention_heads=4)
    trial = Trial(protein, SMALL_DNABERT_S, "cpu:1", token_budget=1024, packs_per_part=1, folder=tmp_path)
    found = killed(trial, 300)
    assert found["parts_equal_byte_by_byte"] is found["predictions_equal"] is True
    assert "ended by signal SIGKILL at esm2 rank" in found["heard"]
    for run in (found["uninterrupted"], found["killed"]):
        assert sum(run["stages"].values()) == pytest.approx(run["seconds"], abs=0.2)
        assert set(run["checks"].values()) == {True}
        for device in run["devices"].values():
            assert device["tokens_per_second_and_device"] > 1000
            assert 0 < device["seconds_to_load"] < run["seconds"]
            assert 0 < device["seconds_without_work"] < run["seconds"]
            assert 0 <= device["waited_for_output"] < 0.5
        assert 0 < run["share_computing"] < 1
    said = capsys.readouterr().out
    assert said.count("stage esm2: ") == said.count("stage calls: ") == 2
    assert said.index("esm2: saving") < said.index("alone: 300 reads") < said.index("killed: 300 reads")


def test_seconds_of_devices_that_work_at_the_same_time_are_those_of_one_of_them() -> None:
    together = Telemetry(loading=8.0, waited_for_input=0.6, waited_for_output=1.2, peak_memory=3 << 20)
    assert device_figures(20.0, 4, busy=68.0, tokens=600, together=together) == {
        "seconds_without_work": 3.0,
        "seconds_to_load": 2.0,
        "share_computing": 0.75,
        "tokens": 600,
        "tokens_per_second_and_device": 10,
        "waited_for_input": 0.01,
        "waited_for_output": 0.02,
        "peak_mib": 3,
    }


def test_a_part_leaves_those_before_it_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "gpu.json"
    add(path, "pipeline", {"reads": 3}, 2.4)
    add(path, "pipeline-killed", {"reads": 4}, 1.0)
    add(path, "pipeline", {"reads": 5}, 1.6)
    found = json.loads(path.read_text())
    assert {part: result["found"] for part, result in found.items()} == {
        "pipeline": {"reads": 5},
        "pipeline-killed": {"reads": 4},
    }
    assert found["pipeline"]["seconds of this part"] == 2
