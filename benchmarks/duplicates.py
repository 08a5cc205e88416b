"""What repeated reads cost: a drop of which each read comes twice, against as many reads that all differ.

    python -m benchmarks.duplicates [--reads 120000] [--rounds 1] [--out FILE]

The whole job with the demo models on reads of 300 bases, as a process of its own without the
orchestrator; start-up and what is paid once a drop are in the time of both, so small drops gain less. Beside
the wall clock, which decides, stands the processor time of all processes: where the two differ by much, the
machine was busy with other work.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.demo_reads import write_fasta
from virnucpro_assets.drops.stage_records import read_stages

READ_LENGTH = 300
MOST = 0.6


def run(reads: Path, folder: Path) -> dict[str, Any]:
    """Seconds of the job on a file of reads, by the clock and of all processors, and what its stages recorded."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = Path(name) / "data"
        command = [sys.executable, "-m", "virnucpro_assets.pipeline", reads, "--out", Path(name) / "out"]
        started, used = time.monotonic(), _processor_seconds()
        subprocess.run(
            command,
            env={**os.environ, "VIRNUCPRO_DATA_ROOT": str(data)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds, processor = time.monotonic() - started, _processor_seconds() - used
        stages = read_stages(next(data.glob("*/*/stages")))
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "members": stages["index"].figures["members"],
        "rows": stages["index"].figures["rows"],
        "stages": {name: record.seconds for name, record in stages.items()},
    }


def _processor_seconds() -> float:
    """What all ended processes that were started here have used, and those that they started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(reads: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    distinct = write_fasta(folder / "distinct.fa", reads, READ_LENGTH)
    repeated = write_fasta(folder / "repeated.fa", reads // 2, READ_LENGTH, copies=2)
    runs: dict[Path, list[dict[str, Any]]] = {distinct: [], repeated: []}
    for number in range(rounds):
        for path in sorted(runs, reverse=bool(number % 2)):
            runs[path].append(run(path, folder))
    return {
        "processors": os.cpu_count(),
        "reads": reads,
        "read_length": READ_LENGTH,
        "distinct": runs[distinct],
        "repeated": runs[repeated],
        "repeated_share": round(1 - runs[repeated][0]["rows"] / runs[repeated][0]["members"], 4),
        "cost": _cost(runs[repeated], runs[distinct], "seconds"),
        "cost_in_processor_time": _cost(runs[repeated], runs[distinct], "processor_seconds"),
    }


def _cost(repeated: list[dict[str, Any]], distinct: list[dict[str, Any]], what: str) -> float:
    """The median of the rounds of what repeated reads cost over what distinct ones cost."""
    return round(
        statistics.median(one[what] / other[what] for one, other in zip(repeated, distinct, strict=True)), 3
    )


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [f"| {result['reads']:,} reads | seconds | processor seconds | candidates | distinct |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, words in (("distinct", "all different"), ("repeated", "each twice")):
        seconds, used = (
            f"{statistics.median(one[what] for one in result[name]):.1f}"
            for what in ("seconds", "processor_seconds")
        )
        first = result[name][0]
        lines.append(f"| {words} | {seconds} | {used} | {first['members']:,} | {first['rows']:,} |")
    cost = f"{result['cost']} times the cost, {result['cost_in_processor_time']} times in processor time"
    return "\n".join([*lines, "", cost])


def main() -> None:
    """Measure, print the table, and fail if repeats cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=120_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.reads, options.rounds, Path(folder))
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if (cost := result["cost"]) > MOST:
        raise SystemExit(f"found {cost} times the cost; expected at most {MOST}")


if __name__ == "__main__":
    main()
