"""VirNucPro's classifier: from the embeddings of a row to P(others) and P(virus).

Linear(width → 512), batch norm, ReLU, dropout 0.5, Linear(512 → 2), softmax (Li et al. 2025). Its width is that of
both embeddings, or of one of them. A folder has the weights under the published names, and a card that describes
their input. Scores are computed in float32, a fixed number of rows at a time.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import ClassifierCard, checked_weights_digest, read_card, write_card
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.models.weights import Shapes, State, check_shapes, read_weights, write_weights

HIDDEN_WIDTH = 512
DROPOUT = 0.5

_ROWS_AT_ONCE = 8192


class Classifier(nn.Module):
    """The network; rows are [n, width] float32, the DNA's numbers before the protein's if it uses both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.hidden_layer = nn.Linear(width, HIDDEN_WIDTH)
        self.bn1 = nn.BatchNorm1d(HIDDEN_WIDTH)
        self.dropout = nn.Dropout(DROPOUT)
        self.output_layer = nn.Linear(HIDDEN_WIDTH, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, 2] logits, before the softmax, for training."""
        hidden = functional.relu(self.bn1(self.hidden_layer(rows)))
        logits: torch.Tensor = self.output_layer(self.dropout(hidden))
        return logits

    @torch.inference_mode()
    def scores(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [n, 2]: P(others) and P(virus) of each of the float32 [n, width] rows.

        Memory beyond input and output does not grow with n. Raises ValueError for another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"rows of shape {rows.shape} where [n, {self.width}] was expected")
        self.eval()
        device = self.hidden_layer.weight.device
        scores = np.empty((len(rows), 2), np.float32)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            # torch warns about views of read-only memory, so such rows are copied.
            block = np.require(rows[some], np.float32, ["C", "W"])
            logits = self(torch.from_numpy(block).to(device))
            scores[some] = functional.softmax(logits, dim=1).cpu().numpy()
        return scores


def classifier_shapes(width: int) -> Shapes:
    """Name and shape of each tensor of a classifier that takes rows of this width."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Classifier(width).state_dict().items()}


def load_classifier(folder: Path) -> tuple[Classifier, ClassifierCard]:
    """Read the classifier in `folder` and its card.

    Raises IntegrityError when a file is missing or damaged, or weights and card do not fit.
    """
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    checked_weights_digest(folder, card)
    state = read_weights(path, classifier_shapes(card.width), dtype=torch.float32, device="cpu")
    damaged = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if damaged:
        raise IntegrityError(
            path,
            found=f"numbers that are not finite in {', '.join(damaged)}",
            expected="finite weights",
            advice="Train or import the classifier again.",
        )
    with torch.device("meta"):
        classifier = Classifier(card.width)
    classifier.load_state_dict(state, assign=True)
    return classifier.requires_grad_(False).eval(), card


def save_classifier(folder: Path, state: State, card: ClassifierCard) -> None:
    """Write weights and card, with the digest of the weights; IntegrityError, and nothing written, when they
    do not fit."""
    path = folder / WEIGHTS_FILE
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_shapes(path, found, classifier_shapes(card.width))
    write_weights(path, state)
    write_card(folder, card.model_copy(update={"digest": sha256_of_file(path)}))
