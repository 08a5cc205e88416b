"""Loading the definitions: valid, fast, and without the heavy libraries."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "esm", "matplotlib", "tokenizers", "pandas")
EMPTY_PROJECT = "import dagster as dg\n\ndefs = dg.Definitions()\n"
ROUNDS = 3


@pytest.mark.slow
def test_dagster_accepts_the_definitions(deployment, repository):
    workspace = str(repository / "workspace.yaml")

    printed = deployment.command("dagster", "definitions", "validate", "-w", workspace)

    assert "Validation successful for code location virnucpro_assets" in printed


@pytest.mark.slow
def test_dg_accepts_the_definitions(deployment, repository):
    assert "All definitions loaded successfully" in deployment.command("dg", "check", "defs", cwd=repository)


def test_loading_the_definitions_imports_no_heavy_library(deployment):
    script = (
        "import json, sys; import virnucpro_assets.definitions; "
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )

    assert json.loads(deployment.command("python", "-W", "ignore", "-c", script)) == []


@pytest.mark.slow
def test_validation_takes_at_most_twice_the_time_of_an_empty_project(deployment, tmp_path):
    (tmp_path / "empty_project.py").write_text(EMPTY_PROJECT)
    ours, empty = [], []

    for _ in range(ROUNDS):
        empty.append(_processor_seconds(deployment.environment, "empty_project", tmp_path))
        ours.append(_processor_seconds(deployment.environment, "virnucpro_assets.definitions", tmp_path))

    assert min(ours) <= 2 * min(empty), (ours, empty)


def _processor_seconds(environment: dict[str, str], module: str, cwd: Path) -> float:
    """Processor time, of which a busy machine takes about as much as an idle one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", module],
        env=environment,
        cwd=cwd,
        check=True,
        capture_output=True,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
