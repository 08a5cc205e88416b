"""From reads to the index: our way against the original's Biopython loop, side by side.

    pip install -e '.[bench]'
    python -m benchmarks.front [--reads 1000000] [--baseline-reads 50000] [--rounds 3] [--out FILE]

Reads of 300 bases from the shipped excerpts of real genomes. Ours reads them, cuts chunks, translates six
frames and writes the index, which is sorted, without repeats, and carries digests; the original's
loop reads them, writes chunks, reads those, translates and writes candidates, unsorted. Both take turns, each in a
process of its own, whose peak memory is recorded; imports are not timed. What the loop would take for
as many reads is reckoned from its rate, which half as many reads show to be constant. In the end ours takes four
times the reads. The clock decides; where processor time differs by much, the machine was busy with other work.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.baselines import preparation
from benchmarks.demo_reads import write_fasta
from benchmarks.lone_process import Measured, in_lone_process
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets.sequences.read_files import ReadFile

READ_LENGTH = 300
CHUNK_LENGTH = 300
LEAST_RATIO = 15.0
MOST_MIB = 1536.0
MOST_GROWTH = 4.2
MOST_SECONDS = 60.0


def with_our_way(reads: Path) -> int:
    """Build the index of a file of reads; returns its members."""
    with tempfile.TemporaryDirectory(dir=reads.parent) as folder:
        origin = IndexOrigin(drop_digest="0" * 64, chunk_length=CHUNK_LENGTH, ranks=4)
        return build_index([ReadFile(reads)], Path(folder) / "index", origin).members


def with_the_original_loop(reads: Path) -> int:
    """Write chunks and candidates of a file of reads; returns the candidates."""
    with tempfile.TemporaryDirectory(dir=reads.parent) as folder:
        return preparation.prepare(reads, Path(folder), CHUNK_LENGTH)


def measure(reads: int, baseline_reads: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    whole, some, half, many = (
        write_fasta(folder / f"reads_{count}.fa", count, READ_LENGTH)
        for count in (reads, baseline_reads, baseline_reads // 2, 4 * reads)
    )
    if in_lone_process(with_our_way, some).result != in_lone_process(with_the_original_loop, some).result:
        raise SystemExit("the two ways found different numbers of candidates")
    ours, original = [], []
    for number in range(rounds):
        for is_ours in sorted((True, False), reverse=bool(number % 2)):
            if is_ours:
                ours.append(in_lone_process(with_our_way, whole))
            else:
                original.append(in_lone_process(with_the_original_loop, some))
    halved = in_lone_process(with_the_original_loop, half)
    fourfold = in_lone_process(with_our_way, many)
    ratios = [
        (reads / one.seconds) / (baseline_reads / other.seconds)
        for one, other in zip(ours, original, strict=True)
    ]
    return {
        "processors": os.cpu_count(),
        "read_length": READ_LENGTH,
        "reads": reads,
        "seconds": _seconds(ours),
        "peak_mib": max(one.peak_mib for one in ours),
        "baseline_reads": baseline_reads,
        "baseline_seconds": _seconds(original),
        "baseline_linearity": round(statistics.median(_seconds(original)) / halved.seconds, 3),
        "ratio_of_rounds": [round(ratio, 1) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 1),
        "fourfold_reads": 4 * reads,
        "fourfold_seconds": round(fourfold.seconds, 2),
        "fourfold_peak_mib": fourfold.peak_mib,
        "growth_in_processor_time": round(
            fourfold.processor / statistics.median(one.processor for one in ours), 3
        ),
        "ratio_in_processor_time": round(
            (reads / statistics.median(one.processor for one in ours))
            / (baseline_reads / statistics.median(one.processor for one in original)),
            1,
        ),
        "growth": round(fourfold.seconds / statistics.median(_seconds(ours)), 3),
    }


def _seconds(measured: list[Measured]) -> list[float]:
    return [round(one.seconds, 2) for one in measured]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    seconds, baseline = (statistics.median(result[name]) for name in ("seconds", "baseline_seconds"))
    rows = [
        ("", "reads", "seconds", "reads a second", "peak MiB"),
        ("---",) * 5,
        ("the original's loop", result["baseline_reads"], baseline, result["baseline_reads"] / baseline, ""),
        ("ours", result["reads"], seconds, result["reads"] / seconds, result["peak_mib"]),
        (
            "ours",
            result["fourfold_reads"],
            result["fourfold_seconds"],
            result["fourfold_reads"] / result["fourfold_seconds"],
            result["fourfold_peak_mib"],
        ),
    ]
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    rate = f"{result['ratio']} times the rate ({result['ratio_in_processor_time']} in processor time)"
    growth = f"{result['growth']} times the time ({result['growth_in_processor_time']} in processor time)"
    return "\n".join([*lines, "", f"{rate}; four times the reads take {growth}"])


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def failures(result: dict[str, Any]) -> list[str]:
    """What is not as good as it must be."""
    bounds = [
        ("ratio", result["ratio"] >= LEAST_RATIO, f"at least {LEAST_RATIO}"),
        ("peak_mib", result["peak_mib"] <= MOST_MIB, f"at most {MOST_MIB}"),
        ("fourfold_peak_mib", result["fourfold_peak_mib"] <= MOST_MIB, f"at most {MOST_MIB}"),
        ("growth", result["growth"] <= MOST_GROWTH, f"at most {MOST_GROWTH}"),
        ("seconds", max(result["seconds"]) <= MOST_SECONDS, f"at most {MOST_SECONDS}"),
    ]
    return [
        f"{name}: found {result[name]}; expected {bound}" for name, is_good, bound in bounds if not is_good
    ]


def main() -> None:
    """Measure, print the table, and fail if something is not as good as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--baseline-reads", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.reads, options.baseline_reads, options.rounds, Path(folder))
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if found := failures(result):
        raise SystemExit("; ".join(found))


if __name__ == "__main__":
    main()
