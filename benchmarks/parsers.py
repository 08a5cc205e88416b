"""Compare parsers of FASTQ and FASTA: dnaio, needletail, pyfastx, and our own batches on top of dnaio.

    pip install -e '.[bench]'
    python -m benchmarks.parsers [--reads 300000] [--rounds 5] [--out benchmarks/results/parsers.json]

Files of 150-base reads are generated, plain and gzip. Every parser gives the id and the sequence
of each read, and their letters are counted; the parsers take turns, so that a busy machine slows
them alike. Times are seconds of processor time, the least of the rounds; ratios are to dnaio.
dnaio reads gzip through the same decompressor as the package (isal).
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import dnaio
import needletail
import numpy as np
import pyfastx

from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches

READ_LENGTH = 150
Counts = tuple[int, int]


def generate(folder: Path, reads: int) -> list[Path]:
    """Write the same reads as FASTQ and FASTA, plain and gzip."""
    random = np.random.default_rng(7)
    bases = random.choice(np.frombuffer(b"ACGT", np.uint8), (reads, READ_LENGTH))
    qualities = random.integers(35, 74, (reads, READ_LENGTH)).astype(np.uint8)
    headers = [b"A00123:45:HXXXXXX:1:1101:%d:%d 1:N:0" % (number % 30_000, number) for number in range(reads)]
    rows = list(zip(headers, bases, qualities, strict=True))
    fastq = b"".join(
        b"@%b\n%b\n+\n%b\n" % (name, base.tobytes(), quality.tobytes()) for name, base, quality in rows
    )
    fasta = b"".join(b">%b\n%b\n" % (name, base.tobytes()) for name, base, _ in rows)
    files = {
        "reads.fastq": fastq,
        "reads.fasta": fasta,
        "reads.fastq.gz": gzip.compress(fastq, 6),
        "reads.fasta.gz": gzip.compress(fasta, 6),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def count(records: Iterator[tuple[str, str]]) -> Counts:
    """The letters of all ids and of all sequences."""
    ids = letters = 0
    for name, sequence in records:
        ids += len(name)
        letters += len(sequence)
    return ids, letters


def with_dnaio(path: Path) -> Counts:
    with dnaio.open(path, open_threads=0) as records:
        return count((record.id, record.sequence) for record in records)


def with_needletail(path: Path) -> Counts:
    records = needletail.parse_fastx_file(str(path))
    return count((record.id.split(None, 1)[0], record.seq) for record in records)


def with_pyfastx(path: Path) -> Counts:
    return count((record[0], record[1]) for record in pyfastx.Fastx(str(path)))


def with_our_batches(path: Path) -> Counts:
    ids = letters = 0
    for batch in read_batches([ReadFile(path)]):
        ids += sum(map(len, batch.names))
        letters += len(batch.bases.data)
    return ids, letters


PARSERS: dict[str, Callable[[Path], Counts]] = {
    "dnaio": with_dnaio,
    "needletail": with_needletail,
    "pyfastx": with_pyfastx,
    "our batches": with_our_batches,
}


def measure(path: Path, rounds: int) -> dict[str, float]:
    """The least seconds of processor time of each parser; they take turns and must agree."""
    seconds = dict.fromkeys(PARSERS, float("inf"))
    results = set()
    for _ in range(rounds):
        for name, parse in PARSERS.items():
            start = time.process_time()
            results.add(parse(path))
            seconds[name] = min(seconds[name], time.process_time() - start)
    if len(results) != 1:
        raise SystemExit(f"{path.name}: the parsers disagree: {results}")
    return seconds


def main() -> None:
    """Generate, measure, print a table and keep it as JSON with --out."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--reads", type=int, default=300_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    report: dict[str, object] = {
        "reads": options.reads,
        "rounds": options.rounds,
        "versions": {name: version(name) for name in ("dnaio", "needletail", "pyfastx", "isal")},
    }
    with tempfile.TemporaryDirectory() as folder:
        for path in generate(Path(folder), options.reads):
            seconds = measure(path, options.rounds)
            report[path.name] = {
                name: {"seconds": round(taken, 4), "speed_to_dnaio": round(seconds["dnaio"] / taken, 2)}
                for name, taken in seconds.items()
            }
            for name, taken in seconds.items():
                rate = options.reads / taken / 1e6
                print(
                    f"{path.name:15} {name:12} {rate:6.2f} M reads/s {seconds['dnaio'] / taken:6.2f} × dnaio"
                )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
