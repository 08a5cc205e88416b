"""The demo drop: held-out reads as a sequencing machine would deliver them, and the truth about them.

Reads of 300 bases and of 150 to 500, longer contigs so that calls by contig show their tiers, and
a few records that give no candidate. Names tell nothing; the truth is in a table of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.demo.reads import Read, sample_reads
from tools.demo.regions import seen_sources
from virnucpro_assets.demo.excerpts import Excerpt, gzipped
from virnucpro_assets.files.atomic import write_bytes, write_text
from virnucpro_assets.vocabulary import LABELS

SEED = 20_250
READS_PER_LABEL = 400
CONTIGS_PER_LABEL = 12

TRUTH_HEADER = ("read_id", "label", "genome", "source", "start", "stop", "strand")


@dataclass(frozen=True, slots=True)
class NamedRead:
    """A record of the drop; `read` is None for a record that shows a reason, not a genome."""

    name: str
    bases: bytes
    read: Read | None


def make_drop(held_out: Sequence[Excerpt], seed: int = SEED) -> list[NamedRead]:
    """The drop's records in their order, the same for the same seed."""
    random = np.random.default_rng(seed)
    reads: list[Read] = []
    for label in LABELS:
        lengths = random.integers(150, 501, READS_PER_LABEL)
        lengths[::2] = 300
        contigs = random.integers(1_800, 4_001, CONTIGS_PER_LABEL)
        reads += sample_reads(held_out, label, np.concatenate((lengths, contigs)), random)
    order = random.permutation(len(reads)).tolist()
    named = [_named(place, reads[position].bases, reads[position]) for place, position in enumerate(order)]
    artefacts = [b"AC", b"N" * 120, b"TTAATTAATTAA" * 20]
    return named + [_named(len(named) + place, bases, None) for place, bases in enumerate(artefacts)]


def write_drop(path: Path, records: Sequence[NamedRead]) -> None:
    """Write the records as gzipped FASTQ; every base has quality 40."""
    text = "".join(
        f"@{record.name}\n{record.bases.decode('ascii')}\n+\n{'I' * len(record.bases)}\n"
        for record in records
    )
    write_bytes(path, gzipped(text))


def write_truth(path: Path, records: Sequence[NamedRead]) -> None:
    """Write one line a record, tab-separated; bases are counted from 1 on the forward strand."""
    lines = [TRUTH_HEADER, *(_truth_line(record) for record in records)]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def _named(place: int, bases: bytes, read: Read | None) -> NamedRead:
    return NamedRead(f"demo_{place + 1:04d}", bases, read)


def _truth_line(record: NamedRead) -> tuple[str, ...]:
    read = record.read
    if read is None:
        return (record.name, "artefact", "none", "none", "1", str(len(record.bases)), "+")
    genome = "seen" if read.source in seen_sources() else "unseen"
    first, last = str(read.start + 1), str(read.start + len(read.bases))
    return (record.name, read.label, genome, read.source, first, last, read.strand)
