"""The predictions of a drop: one line a scored member, in the order of the input.

- `predictions.parquet`: id, label, p_others, p_virus, route, p_virus_calibrated (null without a calibration).
- `prediction_results.txt`: the first four as VirNucPro writes them, tab-separated. Its score1 is P(others),
  its score2 P(virus).

Members that could not be scored are counted and left out. Memory does not grow with the drop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.parquet import schema, table_writer
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.sequences.index import ReadTableBatch
from virnucpro_assets.storage.scored_members import (
    JOINT_ALONE,
    ScoredBy,
    ScoredMembers,
    calibrated_column,
    scored_reads,
)
from virnucpro_assets.storage.tables import Texts, chosen, float32_text, joined, text_lines, with_note

PREDICTIONS_FILE = "predictions.parquet"
PREDICTION_RESULTS_FILE = "prediction_results.txt"
PREDICTED_LABELS = ("others", "virus")
PREDICTION_SCHEMA: Any = schema(
    {
        "id": pa.string(),
        "label": pa.string(),
        "p_others": pa.float32(),
        "p_virus": pa.float32(),
        "route": pa.string(),
    },
    nullable={"p_virus_calibrated": pa.float64()},
)
ROWS_PER_GROUP = 1 << 17
HEADER = b"Sequence_ID\tPrediction\tscore1\tscore2\n"


@dataclass(frozen=True, slots=True)
class PredictionSummary:
    """Counts of members: written, those of them labelled virus, and left out because they have no scores."""

    members: int
    virus: int
    not_scored: int


def write_predictions(
    members: Iterator[ScoredMembers],
    reads: Iterator[ReadTableBatch],
    folder: Path,
    by: Sequence[ScoredBy] = JOINT_ALONE,
    *,
    note: str = "",
) -> PredictionSummary:
    """Write both files into `folder` from all members and all reads of a drop, in input order.

    The routes of members are positions in `by`; `note` is added to the metadata of the Parquet file. Raises
    IntegrityError if members and reads do not match.
    """
    written = virus = not_scored = 0
    with (
        table_writer(folder / PREDICTIONS_FILE, with_note(PREDICTION_SCHEMA, note), ROWS_PER_GROUP) as table,
        atomic_file(folder / PREDICTION_RESULTS_FILE) as text,
    ):
        text.write(HEADER)
        for piece in scored_reads(members, reads):
            scored = piece.members[piece.members.is_scored]
            not_scored += len(piece.members) - len(scored)
            ids = _member_ids(piece.reads, scored)
            is_virus = scored.scores[:, 1] > scored.scores[:, 0]
            labels = chosen(PREDICTED_LABELS, is_virus)
            others, of_virus = scored.scores.T.copy()
            table.add(
                {
                    "id": ids,
                    "label": labels,
                    "p_others": others,
                    "p_virus": of_virus,
                    "route": chosen([one.route for one in by], scored.route),
                    "p_virus_calibrated": calibrated_column(by, scored.route, of_virus),
                }
            )
            text.write(text_lines([ids, labels, float32_text(others), float32_text(of_virus)], "\t\t\t\n"))
            written += len(scored)
            virus += int(is_virus.sum())
    return PredictionSummary(written, virus, not_scored)


def chunk_ids(reads: ReadTableBatch, read: Any, chunk: Any) -> Texts:
    """String [c]: `{name}_chunk_{chunk}` for int64 `read` (positions in the drop) and `chunk`."""
    return joined(chosen(reads.names, read - reads.first), "_chunk_", pc.cast(pa.array(chunk), pa.string()))


def _member_ids(reads: ReadTableBatch, members: ScoredMembers) -> Texts:
    return joined(chunk_ids(reads, members.read, members.chunk), chosen(FRAMES, members.frame))
