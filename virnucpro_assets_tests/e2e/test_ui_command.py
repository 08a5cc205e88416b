"""`virnucpro init` and `virnucpro ui` in a folder that is no clone: what they write, and how the UI begins."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets_tests.conftest import (
    REPOSITORY,
    Installation,
    as_a_script_in_the_background,
)
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import WebServer


def test_init_writes_what_dagster_needs_and_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", "data")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    first = CliRunner().invoke(app, ["init"])
    workspace, instance = tmp_path / "workspace.yaml", tmp_path / "data" / "dagster" / "dagster.yaml"
    assert (first.exit_code, first.stdout.splitlines()) == (0, [str(workspace), str(instance)])
    for path in (workspace, instance):
        assert path.read_bytes() == (REPOSITORY / path.name).read_bytes()
    workspace.write_text("load_from: []\n")
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    assert workspace.read_text() == "load_from: []\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_ui_starts_anywhere_and_says_which_page_to_open_and_nothing_of_the_frameworks(
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {name: v for name, v in Installation(tmp_path).environment.items() if name != "DAGSTER_HOME"}
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("virnucpro")), "ui", "--port", str(port)],
            cwd=tmp_path,
            env=variables | {"VIRNUCPRO_DATA_ROOT": "data"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=as_a_script_in_the_background,  # noqa: PLW1509
        )
        try:
            wait_until(WebServer(port).ready, 100)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    lines = printed.read_text()
    assert f"open http://127.0.0.1:{port}/assets/drop_report" in lines.splitlines()[0]
    assert lines.splitlines()[1].endswith(f"deliveries in {tmp_path / 'drops'} are taken up")
    for noise in ("SupersessionWarning", "superseded", "will not be used"):
        assert noise not in lines
    assert (tmp_path / "data" / "dagster" / "dagster.yaml").exists()
