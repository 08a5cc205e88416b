"""The engine where Dagster is not installed: the same tables, byte for byte."""

import json
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import virnucpro_assets
from virnucpro_assets.files.user_paths import RECORD
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.results import TABLES

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with links to everything installed here, but for Dagster."""
    home = tmp_path_factory.mktemp("bare")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    for folder in {Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))}:
        for entry in folder.iterdir():
            if not entry.name.startswith(("dagster", "virnucpro", "__editable__", "_virtualenv")):
                (packages / entry.name).symlink_to(entry)
    (packages / "virnucpro_assets").symlink_to(Path(virnucpro_assets.__file__).parent)
    base = Path(sys.base_exec_prefix) / "bin" / version
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    python = home / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(base)
    return python


def test_dagster_is_not_there_and_the_package_is(
    bare_python: Path, new_installation: Callable[[str], Any]
) -> None:
    installation = new_installation("bare")
    without = installation.run("-c", "import dagster", program=[str(bare_python)])
    assert (without.exit_code, without.stderr.splitlines()[-1]) == (
        1,
        "ModuleNotFoundError: No module named 'dagster'",
    )
    engine = installation.run(
        "-c", "import virnucpro_assets as v; print(v.__version__)", program=[str(bare_python)]
    )
    assert (engine.exit_code, engine.stdout) == (0, f"{virnucpro_assets.__version__}\n")


@pytest.mark.slow
def test_the_engine_alone_writes_the_same_tables(
    bare_python: Path, new_installation: Callable[[str], Any], predicted: Any, small_reads: Path
) -> None:
    installation = new_installation("engine")
    program = [str(bare_python), "-m", "virnucpro_assets.pipeline"]
    outcome = installation.run(str(small_reads), "--out", "out", program=program)
    assert (outcome.exit_code, predicted.outcome.exit_code) == (0, 0), outcome.stderr
    found = {path.name: path.read_bytes() for path in (installation.folder / "out").iterdir()}
    expected = {path.name: path.read_bytes() for path in predicted.out.iterdir()}
    assert found.keys() == expected.keys() == {*TABLES, RECORD}
    (telemetry,) = installation.folder.rglob("telemetry.jsonl")
    told = [json.loads(line) for line in telemetry.read_text().splitlines()]
    assert [(rank["encoder"], rank["rank"]) for rank in told] == [
        (kind, rank) for kind in ENCODER_KINDS for rank in range(4)
    ]
    assert all(rank["mfu"] > 0 and rank["memory_mib"] > 50 for rank in told if rank["rows"])
    assert [name for name in TABLES if name != "report.html" and found[name] != expected[name]] == []
    assert not (installation.folder / "dagster").exists()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"VIRNUCPRO_RANKS": "0"},
            "error: setting ranks: found '0'; expected greater than 0. "
            "Set VIRNUCPRO_RANKS or correct virnucpro.toml.",
        ),
        (
            {"VIRNUCPRO_DEVICES": "cpu:0"},
            "error: setting devices, 'cpu:0': found 0 CPU slots; expected 1 to ",
        ),
    ],
)
def test_a_wrong_setting_ends_the_engine_with_one_line(
    new_installation: Callable[[str], Any], small_reads: Path, variables: dict[str, str], line: str
) -> None:
    installation = new_installation("wrong")
    program = [sys.executable, "-m", "virnucpro_assets.pipeline"]
    outcome = installation.run(str(small_reads), "--out", "out", program=program, **variables)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(line)
    assert len(outcome.stderr.splitlines()) == 1
    assert not (installation.folder / "out").exists()
