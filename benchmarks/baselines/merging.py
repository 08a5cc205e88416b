"""VirNucPro's own way from embeddings to predictions: dictionaries, pickled tensors, row by row.

Each encoder leaves files with the ids and the vectors of some sequences. Both files of a piece are loaded and
joined through dictionaries by id, the joined vectors are stacked and saved; all saved files are
loaded again as one data set that hands out single rows, the rows are collated to batches, scored by the
network, and the lines are written one by one (Li et al. 2025, restated). Vectors are kept as tensors;
the original's lists of Python numbers are larger and slower to load.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

BATCH = 256
LABELS = ("others", "virus")

Row = tuple[torch.Tensor, str]


def save_vectors(path: Path, ids: Sequence[str], vectors: torch.Tensor) -> None:
    """What an encoder leaves of a piece: its ids, and a tensor for each of them."""
    torch.save({"ids": list(ids), "data": [vector.clone() for vector in vectors]}, path)


def merge(dna: Path, protein: Path, target: Path) -> None:
    """Join the vectors of a piece by id, the DNA's before the protein's."""
    vectors_of_dna, vectors_of_protein = _by_id(dna), _by_id(protein)
    joined = [
        torch.cat((vector, vectors_of_protein[name]), dim=-1) for name, vector in vectors_of_dna.items()
    ]
    torch.save({"ids": list(vectors_of_dna), "data": torch.stack(joined)}, target)


def _by_id(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return dict(zip(content["ids"], content["data"], strict=True))


class MergedRows(Dataset[Row]):
    """The rows of all merged files, held in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.rows: list[Row] = []
        for file in files:
            content = torch.load(file, weights_only=True)
            self.rows += zip(content["data"], content["ids"], strict=True)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Row:
        return self.rows[place]


@torch.no_grad()
def predict(classifier: nn.Module, files: Sequence[Path], target: Path) -> np.ndarray:
    """Write `prediction_results.txt` of the merged files to `target`; returns float32 [rows, 2]."""
    batches = []
    with target.open("w") as lines:
        lines.write("Sequence_ID\tPrediction\tscore1\tscore2\n")
        for rows, names in DataLoader(MergedRows(files), batch_size=BATCH):
            scores = torch.softmax(classifier.eval()(rows), dim=1).numpy()
            for name, (others, virus) in zip(names, scores, strict=True):
                lines.write(f"{name}\t{LABELS[int(virus > others)]}\t{others!s}\t{virus!s}\n")
            batches.append(scores)
    return np.concatenate(batches)
