"""From embeddings to predictions: our way against the original's, side by side.

    python -m benchmarks.back [--rows 200000] [--rounds 3] [--quick] [--out FILE]

Random rows of 768 and 2,560 numbers, one candidate each, are laid out as the encoders leave them: ours as
shards of four ranks, the original's as files of 10,000 sequences. Ours writes the merged view, streams it
through the classifier and writes Parquet and text; the original's way joins by dictionary, saves, loads and goes
row by row. Both take turns, each in a process of its own; imports are not timed. The scores must agree to
1e-5. Memory is what a process holds at most beyond what it held before it began, and beside it the whole.
`--quick` takes few rows, among which what is paid once weighs more, and demands nothing.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: F401 - Arrow imports it with its first array, and imports are not timed
import torch

from benchmarks.baselines import merging
from benchmarks.lone_process import Measured, in_lone_process
from virnucpro_assets.calling.scoring import Scorer, scores_of_merged
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import Classifier, classifier_shapes, load_classifier, save_classifier
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.storage.merged import write_merged
from virnucpro_assets.storage.parts import PackCounts, PartPlan, rows_of, write_part
from virnucpro_assets.storage.prediction_tables import PREDICTION_RESULTS_FILE, write_predictions
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.scored_members import ScoredMembers
from virnucpro_assets.storage.shards import ShardManifest, finish_shard, rank_name
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

WIDTHS: dict[EncoderKind, int] = {"dnabert_s": 768, "esm2": 2560}
RANKS = 4
ROWS_OF_PART = 8192
ROWS_OF_FILE = 10_000
TOLERANCE = 1e-5
QUICK_ROWS = 40_000
LEAST_RATIO = 5.0
MOST_MEMORY = 0.1


def vectors(kind: EncoderKind, first: int, count: int) -> np.ndarray:
    """float32 [count, width]: the made-up embeddings of the rows from `first` on, ROWS_OF_FILE at a time."""
    generator = np.random.default_rng([first, WIDTHS[kind]])
    return generator.standard_normal((count, WIDTHS[kind]), np.float32)


def recipe_of(kind: EncoderKind) -> Recipe:
    """A recipe of which only the names matter."""
    return Recipe(
        encoder=kind,
        index_digest="0" * 64,
        weights_digest="1" * 64,
        precision="float32",
        attention="dense-runs",
        token_budget=8192,
        packs_per_part=64,
        ranks=RANKS,
    )


def shard_folders(folder: Path, kind: EncoderKind) -> list[Path]:
    """The folders of all ranks."""
    return [folder / kind / rank_name(rank, RANKS) for rank in range(RANKS)]


def lay_out(folder: Path, rows: int) -> None:
    """Write the embeddings in both forms, and the classifier."""
    for kind in ENCODER_KINDS:
        for number, piece in enumerate(_pieces(kind, rows)):
            names = [f"read_{number * ROWS_OF_FILE + place}_chunk_1F1" for place in range(len(piece))]
            merging.save_vectors(folder / f"{kind}_{number:04d}.pt", names, torch.from_numpy(piece))
    lay_out_ours(folder, rows)


def _pieces(kind: EncoderKind, rows: int) -> Iterator[np.ndarray]:
    for first in range(0, rows, ROWS_OF_FILE):
        yield vectors(kind, first, min(ROWS_OF_FILE, rows - first))


def lay_out_ours(folder: Path, rows: int) -> None:
    """Write the embeddings as shards, and the classifier."""
    for kind in ENCODER_KINDS:
        whole = np.concatenate(list(_pieces(kind, rows)))
        for rank, path in enumerate(shard_folders(folder, kind)):
            _write_shard(path, kind, rank, whole[rank::RANKS])
    generator = torch.Generator().manual_seed(1)
    shapes = classifier_shapes(sum(WIDTHS.values()))
    state = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}
    state["bn1.running_var"] = state["bn1.running_var"].abs() + 1
    state["bn1.num_batches_tracked"] = torch.tensor(1)
    card = ClassifierCard(
        chunk_length=300,
        d_dna=WIDTHS["dnabert_s"],
        d_protein=WIDTHS["esm2"],
        encoders={"dnabert_s": "0" * 64, "esm2": "0" * 64},
        training_data="none: random weights",
        created_with="benchmarks.back",
    )
    save_classifier(folder / "classifier", state, card)


def _write_shard(folder: Path, kind: EncoderKind, rank: int, embeddings: np.ndarray) -> None:
    folder.mkdir(parents=True)
    recipe = recipe_of(kind)
    parts = []
    for number, start in enumerate(range(0, len(embeddings), ROWS_OF_PART)):
        plan = PartPlan(rank, number, start, min(start + ROWS_OF_PART, len(embeddings)))
        content = np.ascontiguousarray(embeddings[plan.start : plan.stop])
        assert len(rows_of(plan, RANKS)) == len(content)
        parts.append(
            write_part(folder / plan.file_name, plan, recipe, content, PackCounts(packs=1, tokens=1))
        )
    finish_shard(
        folder, ShardManifest(rank=rank, rows=len(embeddings), width=WIDTHS[kind], recipe=recipe, parts=parts)
    )


def with_our_way(folder: Path, rows: int) -> np.ndarray:
    """Merge, score and write; returns the scores, float32 [rows, 2]."""
    folders = {kind: shard_folders(folder, kind) for kind in ENCODER_KINDS}
    write_merged(folder, folders, {kind: recipe_of(kind) for kind in ENCODER_KINDS}, rows)
    (scores,) = scores_of_merged([Scorer.load(folder / "classifier")], folder, lambda _: None)
    write_predictions(_members(scores), _reads(rows), folder)
    return scores


def _members(scores: np.ndarray, at_once: int = 65_536) -> Iterator[ScoredMembers]:
    for first in range(0, len(scores), at_once):
        some = scores[first : first + at_once]
        reads = np.arange(first, first + len(some))
        zeros = np.zeros(len(some), np.int8)
        yield ScoredMembers(reads, np.ones(len(some), np.int32), zeros, some, zeros)


def _reads(rows: int, at_once: int = 65_536) -> Iterator[ReadTableBatch]:
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        ones = np.ones(count, np.int32)
        names = [f"read_{first + place}" for place in range(count)]
        yield ReadTableBatch(
            first, names, np.full(count, 300, np.int64), ones, ones, np.zeros(count, np.int8), 0 * ones
        )


def with_the_original_way(folder: Path, rows: int) -> np.ndarray:
    """Merge, save, load, score and write; returns the scores, float32 [rows, 2]."""
    classifier: Classifier = load_classifier(folder / "classifier")[0]
    merged = []
    for number in range(-(-rows // ROWS_OF_FILE)):
        dna, protein = (folder / f"{kind}_{number:04d}.pt" for kind in ENCODER_KINDS)
        merged.append(folder / f"merged_{number:04d}.pt")
        merging.merge(dna, protein, merged[-1])
    return merging.predict(classifier, merged, folder / f"original_{PREDICTION_RESULTS_FILE}")


def measure(rows: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    in_lone_process(lay_out, folder, rows)
    ways = {"ours": with_our_way, "original": with_the_original_way}
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            measured[name].append(in_lone_process(ways[name], folder, rows))
    ours, original = measured["ours"], measured["original"]
    difference = float(np.abs(ours[0].result - original[0].result).max())
    if difference > TOLERANCE:
        raise SystemExit(f"the scores differ by {difference}; expected at most {TOLERANCE}")
    ratios = [other.seconds / one.seconds for one, other in zip(ours, original, strict=True)]
    held = {name: max(one.peak_mib - one.before_mib for one in of) for name, of in measured.items()}
    return {
        "processors": os.cpu_count(),
        "rows": rows,
        "width": sum(WIDTHS.values()),
        **{f"seconds_{name}": [round(one.seconds, 2) for one in of] for name, of in measured.items()},
        **{f"peak_mib_{name}": max(one.peak_mib for one in of) for name, of in measured.items()},
        **{f"mib_beyond_imports_{name}": round(mib, 1) for name, mib in held.items()},
        "largest_difference": difference,
        "ratio_of_rounds": [round(ratio, 2) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 2),
        "memory_share": round(held["ours"] / held["original"], 4),
        "rows_a_minute": round(60 * rows / statistics.median(one.seconds for one in ours)),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| | seconds | peak MiB | of it beyond imports |", "| --- | --- | --- | --- |"]
    for name, words in (("original", "the original's way"), ("ours", "ours")):
        seconds = statistics.median(result[f"seconds_{name}"])
        mib, beyond = result[f"peak_mib_{name}"], result[f"mib_beyond_imports_{name}"]
        lines.append(f"| {words} | {seconds:.1f} | {mib:,.0f} | {beyond:,.0f} |")
    share = f"{result['memory_share']:.1%} of its memory, {result['rows_a_minute']:,} rows a minute"
    return "\n".join([*lines, "", f"{result['ratio']} times as fast at {share}"])


def main() -> None:
    """Measure, print the table, and fail if something is not as good as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(QUICK_ROWS if options.quick else options.rows, options.rounds, Path(folder))
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if not options.quick and (result["ratio"] < LEAST_RATIO or result["memory_share"] > MOST_MEMORY):
        raise SystemExit(
            f"found {result['ratio']} times the speed at {result['memory_share']:.1%} of the memory; "
            f"expected at least {LEAST_RATIO} times at {MOST_MEMORY:.0%}"
        )


if __name__ == "__main__":
    main()
