"""Short reads of the demo: by which route they are scored, and how well both classifiers do by length.

    python -m benchmarks.short_reads [--per-label 400] [--out FILE]

Reads of each length are cut from the demo's held-out pieces, as many viruses as others, and scored
by the classifier of both embeddings and by that of the DNA alone, on the same embeddings. A read is
called virus if the largest P(virus) of its frames is at least the largest P(others). Then two drops go
through the whole job, with short reads routed: those of 150 bases, and the demo drop.

The demo's encoders are tiny and their weights random: this shows that the routes work, and nothing
about the published classifiers.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.demo.embeddings import EmbeddedReads, embed_reads, read_scores
from tools.demo.reads import Read, bases_of, is_virus, labelled_reads
from virnucpro_assets.demo.excerpts import read_excerpts
from virnucpro_assets.demo.paths import (
    DATA_FOLDER,
    DNABERT_S_FOLDER,
    DROP_FILE,
    ESM2_FOLDER,
    classifier_folder,
)
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.models.evaluation import auroc, confusion
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings

CHUNK_LENGTH = 300
DNA_ONLY_BELOW_BASES = 300
LENGTHS = (100, 150, 200, 250, 300)
SEED = 150


def held_out_reads(length: int, per_label: int) -> list[Read]:
    """Reads of one length from pieces that no training saw, `per_label` viruses and as many others."""
    return labelled_reads(read_excerpts(DATA_FOLDER, "held_out"), per_label, length, length, SEED)


def by_length(per_label: int) -> dict[str, Any]:
    """How many reads of each length can be scored, and how well by each route."""
    dna, protein = load_encoder(DNABERT_S_FOLDER), load_encoder(ESM2_FOLDER)
    found = {}
    for length in LENGTHS:
        reads = held_out_reads(length, per_label)
        embedded = embed_reads(bases_of(reads), CHUNK_LENGTH, dna, protein)
        truth = is_virus(reads)
        found[str(length)] = {
            "reads": len(reads),
            "scored": len(np.unique(embedded.read)),
            "joint": judge(classifier_folder(CHUNK_LENGTH), embedded, truth, dna.width),
            "dna": judge(classifier_folder(CHUNK_LENGTH, "dna"), embedded, truth, dna.width),
        }
    return found


def judge(
    folder: Path, embedded: EmbeddedReads, truth: npt.NDArray[np.bool_], d_dna: int
) -> dict[str, float]:
    """Accuracy and AUROC, with its 95 % interval, of the classifier in `folder` on the reads with a candidate."""
    classifier, card = load_classifier(folder)
    scores = read_scores(len(truth), embedded.read, classifier.scores(embedded.rows[:, card.columns(d_dna)]))
    known = ~np.isnan(scores)
    area = auroc(scores[known], truth[known])
    right = confusion(scores[known] >= 0, truth[known]).accuracy
    figures = {"accuracy": right, "auroc": area.value, "auroc_low": area.low, "auroc_high": area.high}
    return {name: round(value, 4) for name, value in figures.items()}


def routes_of(reads: Path, folder: Path) -> dict[str, Any]:
    """Run a file of reads through the whole job with routes: reads by what became of them."""
    settings = Settings(
        data_root=folder / "data",
        devices="cpu:1",
        ranks=1,
        dna_only_below_bases=DNA_ONLY_BELOW_BASES,
        check_sample=8,
    )
    register_reads("d", [ReadFile(reads)], settings)
    run_drop("d", settings, lambda _: None)
    report = gather_report(DropWork.on("d", settings))
    return {
        "reads": report.reads,
        "routes": report.routes,
        "without_a_call": {reason: count for reason, count in report.reasons.items() if count},
    }


def measure(per_label: int, folder: Path) -> dict[str, Any]:
    """Everything; `folder` is for the drops."""
    reads = held_out_reads(150, per_label)
    fasta = folder / "reads_of_150.fa"
    fasta.write_bytes(b"".join(b">read_%d\n%s\n" % (n, read.bases) for n, read in enumerate(reads)))
    drops: Mapping[str, Path] = {"reads of 150 bases": fasta, "the demo drop": DROP_FILE}
    return {
        "per_label": per_label,
        "short_below": DNA_ONLY_BELOW_BASES,
        "chunk_length": CHUNK_LENGTH,
        "by_length": by_length(per_label),
        "drops": {name: routes_of(path, folder / path.stem) for name, path in drops.items()},
    }


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "| bases | reads | with a candidate | accuracy, joint | DNA alone | AUROC, joint | DNA alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for length, one in result["by_length"].items():
        accuracies = " | ".join(f"{one[route]['accuracy']:.1%}" for route in ("joint", "dna"))
        areas = " | ".join(
            f"{one[route]['auroc']:.3f} ({one[route]['auroc_low']:.3f} to {one[route]['auroc_high']:.3f})"
            for route in ("joint", "dna")
        )
        lines.append(f"| {length} | {one['reads']} | {one['scored']} | {accuracies} | {areas} |")
    lines += [
        "",
        "| drop | reads | scored joint | by the DNA alone | no call |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, one in result["drops"].items():
        routes = " | ".join(str(one["routes"][route]) for route in ("joint", "dna"))
        lines.append(f"| {name} | {one['reads']} | {routes} | {sum(one['without_a_call'].values())} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the tables, and write the figures if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-label", type=int, default=400)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    limit_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.per_label, Path(folder))
    sys.stdout.write(table(result) + "\n")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
