"""What repeated reads cost: a drop of which each read comes twice, against as many reads that all differ.

    python -m benchmarks.duplicates [--reads 60000] [--rounds 1] [--out FILE]

The whole job with the demo models on reads of 300 bases, as a process of its own without the
orchestrator; start-up and what is paid once a drop are in the time of both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.demo_reads import write_fasta
from virnucpro_assets.pipeline.stages import read_stages

READ_LENGTH = 300
MOST = 0.6


def run(reads: Path, folder: Path) -> dict[str, Any]:
    """Seconds of the job on a file of reads, and what its index found."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = Path(name) / "data"
        command = [sys.executable, "-m", "virnucpro_assets.pipeline", reads, "--out", Path(name) / "out"]
        started = time.monotonic()
        subprocess.run(
            command,
            env={**os.environ, "VIRNUCPRO_DATA_ROOT": str(data)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.monotonic() - started
        figures = read_stages(next(data.glob("*/*/stages")))["index"].figures
    return {"seconds": round(seconds, 2), "members": figures["members"], "rows": figures["rows"]}


def measure(reads: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    distinct = write_fasta(folder / "distinct.fa", reads, READ_LENGTH)
    repeated = write_fasta(folder / "repeated.fa", reads // 2, READ_LENGTH, copies=2)
    runs: dict[Path, list[dict[str, Any]]] = {distinct: [], repeated: []}
    for number in range(rounds):
        for path in sorted(runs, reverse=bool(number % 2)):
            runs[path].append(run(path, folder))
    ratios = [
        one["seconds"] / other["seconds"] for one, other in zip(runs[repeated], runs[distinct], strict=True)
    ]
    return {
        "processors": os.cpu_count(),
        "reads": reads,
        "read_length": READ_LENGTH,
        "distinct": runs[distinct],
        "repeated": runs[repeated],
        "repeated_share": round(1 - runs[repeated][0]["rows"] / runs[repeated][0]["members"], 4),
        "cost": round(statistics.median(ratios), 3),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [f"| {result['reads']:,} reads | seconds | candidates | distinct |", "| --- | --- | --- | --- |"]
    for name, words in (("distinct", "all different"), ("repeated", "each twice")):
        seconds = statistics.median(one["seconds"] for one in result[name])
        first = result[name][0]
        lines.append(f"| {words} | {seconds:.1f} | {first['members']:,} | {first['rows']:,} |")
    return "\n".join([*lines, "", f"{result['cost']} times the cost"])


def main() -> None:
    """Measure, print the table, and fail if repeats cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.reads, options.rounds, Path(folder))
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["cost"] > MOST:
        raise SystemExit(f"found {result['cost']} times the cost; expected at most {MOST}")


if __name__ == "__main__":
    main()
