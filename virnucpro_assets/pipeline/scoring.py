"""Scoring the merged embeddings of a drop: one streamed pass, a block of rows at a time."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.models.classifier import Classifier
from virnucpro_assets.storage.incidents import finite_rows
from virnucpro_assets.storage.merged import merged_blocks, read_merged

_ROWS_AT_ONCE = 2048
"""27 MB of rows of the published width."""


def scores_of_merged(
    classifier: Classifier, classifier_folder: Path, folder: Path, report: Reporter
) -> npt.NDArray[np.float32]:
    """float32 [rows, 2]: P(others) and P(virus) of every row merged in `folder`, in the order of the index.

    NaN in the rows that are quarantined for either encoder and in no other. Raises IntegrityError,
    naming the row, for NaN in other embeddings or if the classifier, which is that of
    `classifier_folder`, gives no number.
    """
    rows = read_merged(folder).rows
    scores = np.full((rows, 2), np.nan, np.float32)
    progress = Progress("classifier", "rows", rows, report)
    for places, embeddings in merged_blocks(folder, _ROWS_AT_ONCE):
        embedded = finite_rows(embeddings)
        if not embedded.all():
            places, embeddings = places[embedded], embeddings[embedded]  # noqa: PLW2901
        found = classifier.scores(embeddings)
        if not (is_number := np.isfinite(found).all(axis=1)).all():
            raise IntegrityError(
                f"{classifier_folder}: found scores that are no numbers for row {places[np.argmin(is_number)]} of the "
                "index, whose embeddings are; expected two probabilities. Use a classifier that was trained on "
                "embeddings like these."
            )
        scores[places] = found
        progress.advance(len(embedded))
    return scores
