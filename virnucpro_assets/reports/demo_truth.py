"""How well the calls of the embedded demo drop are; other drops have no known truth."""

from pathlib import Path

from virnucpro_assets.demo.evaluation import evaluate
from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.files.digests import record_of_file
from virnucpro_assets.files.parquet import table_batches
from virnucpro_assets.reports.drop_report import Evaluation
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.storage.drops import DropManifest


def evaluate_demo(drop: DropManifest, read_calls: Path) -> Evaluation | None:
    """AUROC of the reads' weighted deltas against the truth, or None if this is not the demo drop."""
    if drop.records != [record_of_file(DROP_FILE)]:
        return None
    scores = {
        row["name"]: row["weighted_delta"]
        for batch in table_batches(read_calls, ["name", "weighted_delta"])
        for row in batch.to_pylist()
        if row["weighted_delta"] is not None
    }
    bases = {
        name: batch.bases[position]
        for batch in read_batches(drop.read_files)
        for position, name in enumerate(batch.names)
    }
    found = evaluate(scores, bases, read_truth())
    return Evaluation(
        auroc=found.score.value,
        low=found.score.low,
        high=found.score.high,
        baseline=found.gc.value,
        baseline_name="GC content",
        detail=f"{found.viruses} virus reads and {found.others} others, held out; {found.unscored} without a score",
    )
