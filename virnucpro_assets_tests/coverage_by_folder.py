"""The share of lines and branches that the tests run, by folder of the package.

`python -m virnucpro_assets_tests.coverage_by_folder OUT.json` runs the tests of `make test-all` with coverage in
every process that they start, prints a table, and writes it to OUT.json. A process that a test kills writes none.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import virnucpro_assets

PACKAGE = Path(virnucpro_assets.__file__).parent
ROOT = Path(__file__).parents[1]
# A measured process is slower, so that a test that waits for one has more time.
TESTS = ["-m", "pytest", "--dist", "loadfile", "--no-loadscope-reorder", "-n", "2", "--timeout", "600"]
COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def main(out: Path) -> int:
    """Print the table; the exit status is that of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FOLDER": folder}

        def coverage(*words: str) -> int:
            command = [sys.executable, "-m", "coverage", *words, f"--rcfile={ROOT / 'pyproject.toml'}"]
            return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode

        tests = subprocess.run(
            [sys.executable, "-m", "coverage", "run", *TESTS, "-m", "not daemon and not site"],
            cwd=ROOT,
            env=environment,
            check=False,
        )
        report = Path(folder) / "report.json"
        if coverage("combine", "--quiet") or coverage("json", "--quiet", "-o", str(report)):
            return 1
        shares = shares_by_folder(json.loads(report.read_text()))
    out.write_text(json.dumps(shares, indent=1) + "\n")
    table = ["| folder | lines | branches |", "|---|---:|---:|"]
    table += [f"| {name} | {share['lines']} | {share['branches']} |" for name, share in shares.items()]
    sys.stdout.write("\n".join(table) + "\n")
    return tests.returncode


def shares_by_folder(report: dict) -> dict[str, dict[str, float]]:
    """Per cent of lines and of branches, of each folder and of all, from coverage's JSON report."""
    folders: dict[str, Counter[str]] = {}
    for name, file in report["files"].items():
        inside = (ROOT / name).resolve().relative_to(PACKAGE).parts
        for folder in (inside[0] if len(inside) > 1 else "(top)", "all"):
            folders.setdefault(folder, Counter()).update({count: file["summary"][count] for count in COUNTS})
    return {
        name: {
            "lines": round(100 * counts["covered_lines"] / counts["num_statements"], 1),
            "branches": round(100 * counts["covered_branches"] / max(counts["num_branches"], 1), 1),
        }
        for name, counts in sorted(folders.items())
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
