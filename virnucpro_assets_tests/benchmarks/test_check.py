"""The regression gate, on results that were altered."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.check import CHECKED, losses, ratios_of

CASES = {"cases": {"esm2_35m, reads of 150": {"float32": {"ratio": 1.6, "share_of_gemm": 0.9}}}, "ratio": 2.0}


def altered(ratio: float) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(CASES))
    result["cases"]["esm2_35m, reads of 150"]["float32"]["ratio"] = ratio
    return result


def gate(folder: Path, committed: Any, fresh: Any) -> subprocess.CompletedProcess[str]:
    for name, result in (("committed", committed), ("fresh", fresh)):
        (folder / name).mkdir()
        for file in CHECKED:
            (folder / name / file).write_text("{}")
        (folder / name / "encoders_cpu.json").write_text(json.dumps(result))
    command = ["--committed", str(folder / "committed"), "--fresh", str(folder / "fresh")]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.check", *command],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_ratios_are_found_wherever_they_are() -> None:
    assert dict(ratios_of(CASES)) == {"cases / esm2_35m, reads of 150 / float32": 1.6, "ratio": 2.0}


@pytest.mark.parametrize("ratio", [1.37, 1.6, 3.0])
def test_a_loss_within_bounds_or_a_gain_passes(ratio: float) -> None:
    assert losses(CASES, altered(ratio)) == {}


def test_a_larger_loss_is_named_with_both_ratios() -> None:
    assert list(losses(CASES, altered(1.35)).values()) == [
        "cases / esm2_35m, reads of 150 / float32: found a ratio of 1.35, 16% less than 1.60; "
        "expected a loss of at most 15%"
    ]


def test_a_ratio_that_is_gone_is_a_loss() -> None:
    assert list(losses(CASES, {"cases": {}, "ratio": 2.0}).values()) == [
        "cases / esm2_35m, reads of 150 / float32: found no ratio; expected about 1.60"
    ]


def test_the_gate_passes_equal_results(tmp_path: Path) -> None:
    done = gate(tmp_path, CASES, CASES)
    assert (done.returncode, done.stdout) == (0, "no ratio lost more than it may\n")


def test_the_gate_fails_on_a_slower_result(tmp_path: Path) -> None:
    done = gate(tmp_path, CASES, altered(1.0))
    assert done.returncode == 1
    assert "found a ratio of 1.00, 38% less than 1.60" in done.stderr
