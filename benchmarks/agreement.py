"""Labels end to end: every precision of the production mode against computing as VirNucPro does.

    python -m benchmarks.agreement [--reads 20000] [--out FILE]

Reads of 150 bases from the shipped excerpts of real genomes go through the whole engine with the demo
models: once with plain attention, one sequence at a time in float32, and once packed in each precision.
Compared are the label of every candidate and of every chunk, in the files that people take away.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.demo_reads import write_fasta
from virnucpro_assets.vocabulary import Precision

READ_LENGTH = 150
LEAST_AGREEMENT: dict[Precision, float] = {"float32": 0.999, "bfloat16": 0.99, "float16": 0.99}
CANDIDATES, CHUNKS = "prediction_results.txt", "prediction_results_highestscore.csv"


def predict(reads: Path, folder: Path, **settings: str) -> float:
    """Run the engine on `reads` with results in `folder` / out; returns the seconds it took."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}
    changed = {f"VIRNUCPRO_{name.upper()}": value for name, value in settings.items()}
    own = {"VIRNUCPRO_DATA_ROOT": str(folder / "data"), "VIRNUCPRO_LOCKS_FOLDER": str(folder / "locks")}
    command = [sys.executable, "-m", "virnucpro_assets.pipeline", str(reads), "--out", str(folder / "out")]
    started = time.monotonic()
    subprocess.run(
        command,
        env=kept | changed | own,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started


def agreement(one: Path, other: Path) -> dict[str, Any]:
    """The share of equal labels by candidate and by chunk, and the largest difference of a score.

    Raises ValueError if the two results are not of the same candidates and chunks.
    """
    candidates, theirs = (pd.read_csv(folder / CANDIDATES, sep="\t") for folder in (one, other))
    chunks, their_chunks = (pd.read_csv(folder / CHUNKS, sep="\t") for folder in (one, other))
    same = candidates["Sequence_ID"].equals(theirs["Sequence_ID"])
    if not (same and chunks["Modified_ID"].equals(their_chunks["Modified_ID"])):
        raise ValueError(f"{one} and {other} are not results of the same candidates")
    return {
        "candidates": len(candidates),
        "candidate_agreement": float((candidates["Prediction"] == theirs["Prediction"]).mean()),
        "chunks": len(chunks),
        "chunk_agreement": float((chunks["Is_Virus"] == their_chunks["Is_Virus"]).mean()),
        "largest_score_difference": float((candidates["score2"] - theirs["score2"]).abs().max()),
        "virus_share": round(float((candidates["Prediction"] == "virus").mean()), 4),
    }


def table(modes: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| packed, precision | equal labels, candidates | equal labels, chunks | largest difference of a score |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {found['candidate_agreement']:.4%} | {found['chunk_agreement']:.4%} "
        f"| {found['largest_score_difference']:.1e} |"
        for name, found in modes.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run every mode, print the table, keep the JSON, and fail if labels differ too often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    modes: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reads = write_fasta(folder / "reads.fa", options.reads, READ_LENGTH)
        reference = predict(reads, folder / "plain", attention="plain")
        for precision in LEAST_AGREEMENT:
            seconds = predict(reads, folder / precision, precision=precision)
            found = agreement(folder / "plain" / "out", folder / precision / "out")
            modes[precision] = {**found, "seconds": round(seconds, 1)}
    print(table(modes))
    if options.out:
        result = {"reads": options.reads, "plain_seconds": round(reference, 1), "modes": modes}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    missed = [
        f"{precision}: found {modes[precision][figure]:.4%} equal labels; expected at least {least:.1%}"
        for precision, least in LEAST_AGREEMENT.items()
        for figure in ("candidate_agreement", "chunk_agreement")
        if modes[precision][figure] < least
    ]
    if missed:
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
