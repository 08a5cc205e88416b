"""How good a run on the demo drop was: `python -m tools.demo.measure CONSENSUS_FILE`.

CONSENSUS_FILE is the drop's prediction_results_highestscore.csv, of this project or of VirNucPro
2.0: a read's score is the largest P(virus) minus the largest P(others) of its chunks.
"""

import argparse
import sys
from pathlib import Path

from virnucpro_assets.demo.evaluation import evaluate
from virnucpro_assets.demo.paths import DROP_FILE
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.models.evaluation import Auroc
from virnucpro_assets.sequences.read_files import pair_files
from virnucpro_assets.sequences.reads import read_batches

HEADER = ["Modified_ID", "Is_Virus", "max_score_0", "max_score_1"]


def scores_of_reads(path: Path) -> dict[str, float]:
    """Each scored read's largest P(virus) minus its largest P(others), by read id."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != HEADER:
        raise InputError(
            path,
            where="line 1",
            found=excerpt(repr(lines[0])) if lines else "nothing",
            expected=f"the tab-separated header {' '.join(HEADER)}",
            advice="Give the prediction_results_highestscore.csv of the demo drop.",
        )
    best: dict[str, tuple[float, float]] = {}
    for line in lines[1:]:
        chunk_id, _, others, virus = line.split("\t")
        read_id = chunk_id.rpartition("_chunk_")[0]
        before = best.get(read_id, (0.0, 0.0))
        best[read_id] = (max(before[0], float(others)), max(before[1], float(virus)))
    return {read_id: virus - others for read_id, (others, virus) in best.items()}


def bases_of_drop(path: Path = DROP_FILE) -> dict[str, bytes]:
    """The letters of every read of the demo drop, by name."""
    batches = read_batches(pair_files([path]))
    return {name: batch.bases[place] for batch in batches for place, name in enumerate(batch.names)}


def main() -> None:
    """Print the AUROC of the run and of GC content, for all reads, seen and unseen genomes."""
    parser = argparse.ArgumentParser(description="How good a run on the demo drop was.")
    parser.add_argument("consensus_file", type=Path)
    path: Path = parser.parse_args().consensus_file
    scores, bases, truth = scores_of_reads(path), bases_of_drop(), read_truth()
    for title, genome in (("all genomes", None), ("seen genomes", "seen"), ("unseen genomes", "unseen")):
        found = evaluate(scores, bases, truth, genome=genome)
        sys.stdout.write(
            f"{title}: AUROC {_text(found.score)}, GC content alone {_text(found.gc)}; "
            f"{found.viruses} viruses, {found.others} others, {found.unscored} without a score\n"
        )


def _text(found: Auroc) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    main()
