"""Scoring the merged embeddings of a drop: one streamed pass for all classifiers, a block of rows at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import Classifier, load_classifier
from virnucpro_assets.storage.incidents import finite_rows
from virnucpro_assets.storage.merged import merged_blocks, read_merged

Scores = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 2048
"""27 MB of rows of the published width."""


@dataclass(frozen=True)
class Scorer:
    """A loaded classifier, its card, and its folder."""

    classifier: Classifier
    card: ClassifierCard
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> "Scorer":
        """Load the classifier in `folder`; raises as `load_classifier` does."""
        return cls(*load_classifier(folder), folder)

    @property
    def needs_protein(self) -> bool:
        """Whether it cannot score rows without a protein."""
        return "esm2" in self.card.used_encoders

    def part(self, rows: npt.NDArray[np.float32], d_dna: int) -> npt.NDArray[np.float32]:
        """float32 [n, width]: the columns it uses of merged rows [n, d_dna + d_protein]; a view."""
        return rows[:, self.card.columns(d_dna)]


def scores_of_merged(
    scorers: Sequence[Scorer], folder: Path, report: Reporter, *, with_protein: int | None = None
) -> list[Scores]:
    """float32 [rows, 2] by each scorer: P(others) and P(virus) of every row merged in `folder`, in index order.

    If given, only the first so many rows of the index have a protein. Scores are NaN for rows without a protein if the
    classifier needs one, for rows that are quarantined for an encoder that it uses, and for no other rows. Raises
    IntegrityError, with the row, for NaN in other embeddings or if a classifier returns NaN.
    """
    merged = read_merged(folder)
    d_dna = merged.widths["dnabert_s"]
    scores = [np.full((merged.rows, 2), np.nan, np.float32) for _ in scorers]
    progress = Progress("classifier", "rows", merged.rows, report)
    for positions, embeddings in merged_blocks(folder, _ROWS_AT_ONCE):
        has_protein = positions < (merged.rows if with_protein is None else with_protein)
        for scorer, found in zip(scorers, scores, strict=True):
            if scorer.needs_protein and not has_protein.all():
                _score(scorer, positions[has_protein], scorer.part(embeddings[has_protein], d_dna), found)
            else:
                _score(scorer, positions, scorer.part(embeddings, d_dna), found)
        progress.advance(len(positions))
    return scores


def _score(
    scorer: Scorer, positions: npt.NDArray[np.int64], rows: npt.NDArray[np.float32], scores: Scores
) -> None:
    """Write the scores of `rows` to their `positions` in `scores`; rows with NaN keep NaN."""
    embedded = finite_rows(rows)
    if not embedded.all():
        positions, rows = positions[embedded], rows[embedded]
    found = scorer.classifier.scores(rows)
    if not (is_number := np.isfinite(found).all(axis=1)).all():
        raise IntegrityError(
            scorer.folder,
            found=f"NaN as a score of row {positions[np.argmin(is_number)]} of the index, whose embeddings are finite",
            expected="two probabilities",
            advice="Use a classifier that was trained on embeddings like these.",
        )
    scores[positions] = found
