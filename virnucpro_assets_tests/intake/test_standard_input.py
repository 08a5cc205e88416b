"""Standard input as reads: kept once in a file of its own, whatever comes later."""

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.intake.standard_input import keep_standard_input
from virnucpro_assets.settings import Settings


def test_the_same_content_is_the_same_file_and_other_content_another(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path)
    one, again, other = (
        keep_standard_input(settings, io.BytesIO(content))
        for content in (b">a\nAC\n", b">a\nAC\n", b">b\nAC\n")
    )
    assert one == again
    assert (one.read_bytes(), other.read_bytes()) == (b">a\nAC\n", b">b\nAC\n")
    assert sorted((tmp_path / "_stdin").iterdir()) == sorted([one, other])


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_reads_from_standard_input_are_kept_before_they_are_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "cuda:7")
    done = CliRunner().invoke(app, ["predict", name, "--out", str(tmp_path / "out")], input=">a\nACGT\n")
    # The first mistake after the reads: nothing is computed here.
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: setting devices, 'cuda:7'")
    (kept,) = (tmp_path / "data" / "_stdin").iterdir()
    assert kept.read_text() == ">a\nACGT\n"
