"""Demo models are told by their weights, wherever they lie, and are said to be in use."""

import configparser
import shlex
import shutil
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, ESM2_FOLDER, MODELS_FOLDER
from virnucpro_assets.demo.recognise import demo_line, demo_models, is_demo_model, saying_demo_models
from virnucpro_assets_tests.conftest import Prediction

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Models of the demo's shapes whose weights are others."""
    root = shutil.copytree(MODELS_FOLDER, tmp_path / "real")
    for weights in root.glob("*/model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    return root


def test_every_model_of_the_demo_is_one_under_any_name(tmp_path: Path, real: Path) -> None:
    folders = sorted(path.parent for path in MODELS_FOLDER.glob("*/model.safetensors"))
    assert len(folders) == 5
    for folder in folders:
        copy = shutil.copytree(folder, tmp_path / f"mine-{folder.name}")
        assert is_demo_model(folder)
        assert is_demo_model(copy)
        assert not is_demo_model(real / folder.name)
    assert not is_demo_model(tmp_path / "missing")


def test_one_line_names_those_that_are(real: Path) -> None:
    folders = {
        "esm2": ESM2_FOLDER,
        "dnabert_s": real / "dnabert_s",
        "classifier_300": MODELS_FOLDER / "classifier_300",
    }
    assert demo_models(folders) == ["esm2", "classifier_300"]
    assert demo_line(folders).startswith("demo model in use (esm2, classifier_300): results show how")
    assert "\n" not in demo_line(folders)
    assert demo_line({"dnabert_s": real / "dnabert_s"}) == ""


def test_it_is_said_before_and_after_the_work_and_not_after_an_error(real: Path) -> None:
    said: list[str] = []
    with saying_demo_models({"dnabert_s": DNABERT_S_FOLDER}, said.append):
        said.append("work")
    assert [line.partition(" in use")[0] for line in said] == ["demo model", "work", "demo model"]
    with saying_demo_models({"dnabert_s": real / "dnabert_s"}, said.append):
        pass
    assert len(said) == 3
    with pytest.raises(KeyError), saying_demo_models({"dnabert_s": DNABERT_S_FOLDER}, said.append):
        raise KeyError
    assert len(said) == 4


@pytest.mark.slow
def test_a_prediction_says_so_first_and_last_and_its_files_carry_it(predicted: Prediction) -> None:
    lines = predicted.outcome.stderr.splitlines()
    expected = "demo model in use (dnabert_s, esm2, classifier_300): "
    assert [number for number, line in enumerate(lines) if "demo model" in line] == [0]
    assert lines[0].startswith(expected)
    *_, warning, report = predicted.outcome.stdout.splitlines()
    assert warning == f"warning: {lines[0]}"
    assert report.startswith("report: /")
    headers = [line for line in (predicted.out / "hits.fasta").read_text().splitlines() if line[0] == ">"]
    assert headers
    assert all(header.endswith(" demo model") for header in headers)
    for name in ("predictions", "chunk_calls", "read_calls"):
        metadata = pq.read_schema(predicted.out / f"{name}.parquet").metadata
        assert metadata[b"virnucpro.note"] == b"demo model"


@pytest.mark.slow
def test_each_run_of_a_prediction_that_uses_models_says_so_once_in_its_log(predicted: Prediction) -> None:
    said = {}
    with dg.DagsterInstance.from_config(str(predicted.installation.folder / "dagster")) as instance:
        for run in instance.get_runs():
            messages = [entry.user_message for entry in instance.all_logs(run.run_id)]
            said[run.job_name] = sum(message.startswith("demo model in use") for message in messages)
    assert said == {"index_drop": 0, "embed_drop": 1, "call_drop": 1}


@pytest.mark.parametrize(
    ("models", "outcome"),
    [
        ({}, (2, "error: setting dnabert_s: found a demo model in ")),
        (
            {"esm2": "esm2", "dnabert_s": "dnabert_s"},
            (2, "error: setting classifiers: found a demo model in "),
        ),
        ({"esm2": "gone", "dnabert_s": "dnabert_s"}, (2, "error: setting esm2: found no model in ")),
        ({"esm2": "esm2", "dnabert_s": "dnabert_s", "classifiers": "."}, (0, "")),
    ],
)
def test_the_services_start_with_real_models_only(
    tmp_path: Path,
    real: Path,
    monkeypatch: pytest.MonkeyPatch,
    models: dict[str, str],
    outcome: tuple[int, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, folder in models.items():
        monkeypatch.setenv(f"VIRNUCPRO_{name.upper()}", str(real / folder))
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(DEPLOY / "systemd" / "virnucpro-code.service")
    shell, option, program = shlex.split(unit["Service"]["ExecStartPre"])
    first, _ = program.split("; ")
    assert (shell, option) == ("/bin/sh", "-ec")
    assert first.startswith("/opt/virnucpro/bin/virnucpro ")

    found = CliRunner().invoke(app, first.split()[1:])

    assert found.exit_code == outcome[0]
    assert found.stderr.startswith(outcome[1])


def test_the_shipped_environment_names_models() -> None:
    lines = (DEPLOY / "virnucpro.env").read_text().splitlines()
    for name in ("ESM2", "DNABERT_S", "CLASSIFIERS"):
        assert any(line.startswith(f"VIRNUCPRO_{name}=/srv/virnucpro/models") for line in lines)
