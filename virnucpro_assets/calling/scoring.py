"""Scoring the merged embeddings of a drop: one streamed pass for all its classifiers, a block of rows at a time.

Each block is read, checked and scored by one thread, with as many threads as there are processors (16 at most). One
product spread over several threads would gain less, because reading and checking would stay on one.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import VerifiedFiles
from virnucpro_assets.inference.progress import Progress, Reporter
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import Classifier, load_classifier
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.storage.merged_reader import MergedReader
from virnucpro_assets.storage.provenance import finite_rows

Scores = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 2048
"""27 MB of rows of the published width."""

_THREADS_AT_MOST = 16
"""Each holds a block twice, as it is read and side by side."""


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
    scorers: Sequence[Scorer],
    folder: Path,
    report: Reporter,
    *,
    with_protein: int | None = None,
    verified: VerifiedFiles | None = None,
) -> list[Scores]:
    """float32 [rows, 2] by each scorer: P(others) and P(virus) of every row merged in `folder`, in index order.

    If given, only the first so many rows of the index have a protein. Scores are NaN for rows without a protein if the
    classifier needs one, for rows that are quarantined for an encoder that it uses, and for no other rows. Raises
    IntegrityError, with the row, for NaN in other embeddings or if a classifier returns NaN.
    """
    with MergedReader(folder, verified) as reader, _threads() as threads:
        merged = reader.manifest
        scores = [np.full((merged.rows, 2), np.nan, np.float32) for _ in scorers]
        limit = merged.rows if with_protein is None else with_protein

        def score(start: int) -> int:
            index_rows, embeddings = reader.read(start, start + _ROWS_AT_ONCE)
            has_protein = index_rows < limit
            for scorer, found in zip(scorers, scores, strict=True):
                part = scorer.part(embeddings, merged.widths["dnabert_s"])
                if scorer.needs_protein and not has_protein.all():
                    _score(scorer, index_rows[has_protein], part[has_protein], found)
                else:
                    _score(scorer, index_rows, part, found)
            return len(index_rows)

        progress = Progress("classifier", "row", merged.rows, report)
        for count in threads.map(score, range(0, merged.rows, _ROWS_AT_ONCE)):
            progress.advance(count)
    return scores


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads in each of which torch uses one thread; tasks that have not begun when the block ends are cancelled."""
    before, count = torch.get_num_threads(), min(len(os.sched_getaffinity(0)), _THREADS_AT_MOST)
    threads = ThreadPoolExecutor(count, "score", initializer=limit_threads, initargs=(1,))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        limit_threads(before)


def _score(
    scorer: Scorer, index_rows: npt.NDArray[np.int64], rows: npt.NDArray[np.float32], scores: Scores
) -> None:
    """Put the scores of `rows` at their `index_rows` of `scores`, but for rows with NaN."""
    embedded = finite_rows(rows)
    if not embedded.all():
        index_rows, rows = index_rows[embedded], rows[embedded]
    found = scorer.classifier.scores(rows)
    if not (is_number := np.isfinite(found).all(axis=1)).all():
        raise IntegrityError(
            scorer.folder,
            found=f"NaN as a score of row {index_rows[np.argmin(is_number)]} of the index, whose embeddings are finite",
            expected="two probabilities",
            advice="Use a classifier that was trained on embeddings like these.",
        )
    scores[index_rows] = found
