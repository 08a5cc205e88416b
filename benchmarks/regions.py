"""Viral regions found in contigs whose viral part is known: a piece of a phage put into bacterial sequence.

    python -m benchmarks.regions [--out FILE]

Each held-out piece of phage lambda and phiX174 is put into the held-out piece of E. coli at three positions,
forward and reversed. The contigs go through the whole job with the demo models. Recall is the share of the phage's
bases that lie in a region, precision the share of the regions' bases that are the phage's; `chance` is the precision
of regions at random.

The demo's encoders are tiny and their weights random: this shows that the regions are at the right places, and
nothing about the published classifiers.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from virnucpro_assets.calling.region_tables import BED_FILE
from virnucpro_assets.demo.excerpts import read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings

PHAGES = ("lambda", "phix174")
HOST = "ecoli"
SHARES = (0.25, 0.5, 0.75)
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True)
class Contig:
    """Bases of which those from `start` up to `end` are a phage's."""

    name: str
    bases: str
    start: int
    end: int


def contigs() -> Iterator[Contig]:
    """Each held-out piece of a phage within the host's, at three positions and in both directions."""
    held_out = read_excerpts(DATA_FOLDER, "held_out")
    (host,) = (one.letters for one in held_out if one.source == HOST)
    for number, phage in enumerate(one.letters for one in held_out if one.source in PHAGES):
        for share in SHARES:
            for direction, bases in (("forward", phage), ("reversed", phage.translate(_COMPLEMENT)[::-1])):
                start = int(share * len(host))
                yield Contig(
                    f"phage{number}_{share}_{direction}",
                    host[:start] + bases + host[start:],
                    start,
                    start + len(bases),
                )


def found_regions(made: list[Contig], folder: Path) -> dict[str, list[tuple[int, int]]]:
    """The regions of each contig, by the whole job."""
    fasta = folder / "contigs.fa"
    fasta.write_text("".join(f">{one.name}\n{one.bases}\n" for one in made))
    settings = Settings(data_root=folder / "data", devices="cpu:1", ranks=1, check_sample=8)
    register_reads("contigs", [ReadFile(fasta)], settings)
    calls = run_drop("contigs", settings, lambda _: None).calls
    found: dict[str, list[tuple[int, int]]] = {one.name: [] for one in made}
    for line in (calls / BED_FILE).read_text().splitlines()[1:]:
        name, start, end, *_ = line.split("\t")
        found[name].append((int(start), int(end)))
    return found


def overlap(made: list[Contig], found: dict[str, list[tuple[int, int]]]) -> dict[str, Any]:
    """Bases of phages, of regions and of both, and the shares that follow."""
    phage = regions = both = bases = 0
    for contig in made:
        is_phage, is_found = np.zeros((2, len(contig.bases)), bool)
        is_phage[contig.start : contig.end] = True
        for start, end in found[contig.name]:
            is_found[start:end] = True
        phage += int(is_phage.sum())
        regions += int(is_found.sum())
        both += int((is_phage & is_found).sum())
        bases += len(contig.bases)
    return {
        "contigs": len(made),
        "bases": bases,
        "phage bases": phage,
        "region bases": regions,
        "recall": round(both / phage, 3),
        "precision": round(both / max(1, regions), 3),
        "chance": round(phage / bases, 3),
        "contigs with a region over half of the phage": sum(
            sum(max(0, min(end, one.end) - max(start, one.start)) for start, end in found[one.name])
            > (one.end - one.start) / 2
            for one in made
        ),
    }


def main() -> int:
    """Print the figures, and write them to `--out`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made = list(contigs())
    with tempfile.TemporaryDirectory() as name:
        figures = overlap(made, found_regions(made, Path(name)))
    text = json.dumps(figures, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
