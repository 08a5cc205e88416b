"""Reads cut at random from the shipped excerpts of real genomes, one base in fifty drawn anew.

Hardly two of them are equal. The same number and length always give the same reads.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.excerpts import read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER

CHANGED_SHARE = 0.02
READS_AT_ONCE = 10_000


def demo_reads(reads: int, length: int) -> Iterator[npt.NDArray[np.uint8]]:
    """`reads` reads of `length` bases, uint8 [at most READS_AT_ONCE, length] at a time."""
    random = np.random.default_rng(11)
    letters = "".join(excerpt.letters for excerpt in read_excerpts(DATA_FOLDER, "training"))
    genome = np.frombuffer(letters.encode(), np.uint8)
    for first in range(0, reads, READS_AT_ONCE):
        count = min(READS_AT_ONCE, reads - first)
        starts = random.integers(0, len(genome) - length, count)
        bases = genome[starts[:, None] + np.arange(length)]
        changed = random.random(bases.shape) < CHANGED_SHARE
        yield np.where(changed, random.choice(np.frombuffer(b"ACGT", np.uint8), bases.shape), bases)


def write_fasta(path: Path, reads: int, length: int, copies: int = 1) -> Path:
    """Write the reads as FASTA, each `copies` times under names of its own; returns `path`."""
    number = 0
    with path.open("wb") as stream:
        for bases in demo_reads(reads, length):
            for row in bases:
                stream.writelines(
                    b">run:1:%d\n%b\n" % (number + copy, row.tobytes()) for copy in range(copies)
                )
                number += copies
    return path
