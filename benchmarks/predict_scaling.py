"""Time and memory of `virnucpro predict` on N and on 2 N reads of 150 bases, with the demo models.

    python -m benchmarks.predict_scaling [--reads 100000] [--out benchmarks/results/predict_scaling.json]

Reads are cut at random from the shipped excerpts, one base in fifty changed, so that hardly two are
equal. The two sizes run one after the other, each as a whole process with a data root of its own.
The memory of the process and of each of its device processes is sampled ten times a second
(proportional set size: pages that processes share are counted once); the peak of the parent alone
is what could grow with the number of reads.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.demo_reads import demo_reads
from virnucpro_assets.drops.stage_records import read_stages

READ_LENGTH = 150
MIB = 1 << 20


def generate(path: Path, reads: int) -> None:
    """Write `reads` FASTQ records, the same for the same number."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        number = 0
        for bases in demo_reads(reads, READ_LENGTH):
            quality = b"I" * READ_LENGTH
            stream.writelines(
                b"@run:1:%d\n%b\n+\n%b\n" % (number + place, row.tobytes(), quality)
                for place, row in enumerate(bases)
            )
            number += len(bases)


def measure(reads: int, folder: Path) -> dict[str, Any]:
    """Run `virnucpro predict` on `reads` reads and say what it took."""
    source = folder / f"reads_{reads}.fastq.gz"
    generate(source, reads)
    data = folder / f"data_{reads}"
    environment = {**os.environ, "VIRNUCPRO_DATA_ROOT": str(data), "DAGSTER_HOME": str(data / "dagster")}
    command = [
        sys.executable,
        "-m",
        "virnucpro_assets.cli",
        "predict",
        str(source),
        "--out",
        str(folder / "out"),
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    parent, peaks = psutil.Process(process.pid), {"parent": 0, "all": 0}
    while process.poll() is None:
        sample = [memory_of(member) for member in [parent, *children_of(parent)]]
        peaks = {"parent": max(peaks["parent"], sample[0]), "all": max(peaks["all"], sum(sample))}
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"virnucpro predict ended with {process.returncode}")
    stages = read_stages(next(data.glob("*/*/stages")))
    return {
        "reads": reads,
        "seconds": round(time.monotonic() - started, 1),
        "peak_mib_parent": round(peaks["parent"] / MIB, 1),
        "peak_mib_all_processes": round(peaks["all"] / MIB, 1),
        "stages": {name: record.seconds for name, record in stages.items()},
    }


def children_of(parent: psutil.Process) -> list[psutil.Process]:
    """The processes below `parent`; none once it has ended."""
    try:
        return parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def memory_of(process: psutil.Process) -> int:
    """Proportional set size in bytes; 0 for a process that has ended."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def main() -> None:
    """Measure both sizes and print what they cost beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        single, double = (measure(options.reads * times, Path(folder)) for times in (1, 2))
    growth = (double["peak_mib_parent"] - single["peak_mib_parent"]) * MIB / options.reads
    result = {
        "processors": os.cpu_count(),
        "runs": [single, double],
        "time_ratio": round(double["seconds"] / single["seconds"], 3),
        "parent_bytes_per_further_read": round(growth, 1),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
