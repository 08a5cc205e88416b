"""What is in every file of a drop's results: for docs/outputs.md, and for the descriptions in the UI.

`python -m virnucpro_assets.reports.outputs docs/outputs.md [RESULTS]` writes the page between its two marks, with a row
of the files in RESULTS as the example; without RESULTS the examples on the page stay.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from virnucpro_assets.calling.region_tables import REGION_SCHEMA, REGIONS_FILE
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.storage.call_tables import (
    CHUNK_CALLS_FILE,
    CHUNK_SCHEMA,
    CONSENSUS_FILE,
    CONTIG_CALLS_FILE,
    READ_CALLS_FILE,
    READ_SCHEMA,
)
from virnucpro_assets.storage.pair_calls import MISSING, PAIR_CALLS_FILE
from virnucpro_assets.storage.prediction_tables import (
    PREDICTION_RESULTS_FILE,
    PREDICTION_SCHEMA,
    PREDICTIONS_FILE,
)

BEGIN, END = "<!-- outputs: begin -->\n", "<!-- outputs: end -->\n"


@dataclass(frozen=True)
class Column:
    """A column: what it means, its unit, and when it has no value."""

    meaning: str
    unit: str = ""
    null: str = ""


@dataclass(frozen=True)
class Output:
    """A file of results: what a row is, in which order, and its columns; `schema` is that of a Parquet file."""

    file: str
    row: str
    order: str
    columns: Mapping[str, Column]
    schema: Any = None

    def types(self) -> list[str]:
        """The type of each column; text files say none but text and number."""
        if self.schema is not None:
            return [str(field.type) for field in self.schema]
        return ["" for _ in self.columns]


_NO_CALL = "the read has no call"
_P = "probability"
_ROUTE = Column("by which embeddings it was scored: joint, dna or protein")
_CALIBRATED = "the classifier has no calibration"
_NAME = Column("name of the read or contig: the first word of its header, /1 or /2 for mates")
_CALL_COLUMNS = {
    "call": Column("Viral, Non-viral or Ambiguous", null=_NO_CALL),
    "tier": Column(
        "how sure the call is: high_confidence, moderate_confidence, low_confidence, or review", null=_NO_CALL
    ),
    "weighted_delta": Column(
        "mean over the chunks of max_score_1 - max_score_0, each weighted by the root of its size; above 0 for virus",
        "-1 to 1",
        _NO_CALL,
    ),
}
_COUNTED = {
    "n_confident_viral": Column("chunks that are surely viral", "chunks", _NO_CALL),
    "n_confident_nonviral": Column("chunks that are surely not viral", "chunks", _NO_CALL),
    "n_ambiguous": Column("chunks with high scores for both", "chunks", _NO_CALL),
    "viral_proportion": Column("surely viral chunks, of those that are not ambiguous", "share", _NO_CALL),
    "nonviral_proportion": Column(
        "surely not viral chunks, of those that are not ambiguous", "share", _NO_CALL
    ),
}
_OF_A_MATE = {
    "call": Column("call of this mate; empty if it has none"),
    "tier": Column("its tier"),
    "max_score_1": Column("largest P(virus) of any of its frames", _P),
    "reason": Column(f"why it has no call, as in {READ_CALLS_FILE}; {MISSING} if it is not in the drop"),
}

OUTPUTS: tuple[Output, ...] = (
    Output(
        READ_CALLS_FILE,
        "every read or contig",
        "of the input",
        {
            "name": _NAME,
            "length": Column("its length", "bases"),
            "chunks": Column("how many chunks it was cut into", "chunks"),
            "scored_chunks": Column("how many of them have a stop-free frame with a score", "chunks"),
            "unreadable_frames": Column(
                "stop-free frames with under half of their codons readable", "frames"
            ),
            **_CALL_COLUMNS,
            **_COUNTED,
            "max_score_0": Column("largest P(others) of any frame", _P, _NO_CALL),
            "max_score_1": Column("largest P(virus) of any frame", _P, _NO_CALL),
            "reason": Column(
                "why there is no call: empty, too_short, no_codon, no_stop_free_frame or not_scored",
                null="it has a call",
            ),
            "route": Column(_ROUTE.meaning, null=_NO_CALL),
            "p_virus_calibrated": Column(
                "max_score_1 as the classifier's card calibrates it", _P, f"{_NO_CALL}, or {_CALIBRATED}"
            ),
            "q_value": Column(
                "expected share of reads that are no virus among all that are at least as sure",
                "share",
                f"{_NO_CALL}, or {_CALIBRATED}",
            ),
            "low_complexity_share": Column(
                "share of its chunks with a dust score above `low_complexity_above`",
                "share",
                "the read is empty",
            ),
        },
        READ_SCHEMA,
    ),
    Output(
        CONTIG_CALLS_FILE,
        "a read or contig with a call",
        "by ID",
        {
            "ID": _NAME,
            **{name: Column(column.meaning, column.unit) for name, column in _CALL_COLUMNS.items()},
            "n_chunks": Column("scored chunks", "chunks"),
            **{name: Column(column.meaning, column.unit) for name, column in _COUNTED.items()},
        },
    ),
    Output(
        PAIR_CALLS_FILE,
        "a pair of mates, or a read without a mate; written with --per-pair or the setting `per_pair`",
        "by pair",
        {
            "pair": Column("name of the mates without /1 and /2, or of the single read"),
            "call": Column(
                "Viral if a mate is Viral and the other is not Non-viral, Non-viral the other way round, Ambiguous if "
                "they contradict each other or none is sure; empty if neither has a call"
            ),
            **{f"mate{mate}_{name}": column for mate in (1, 2) for name, column in _OF_A_MATE.items()},
        },
    ),
    Output(
        CHUNK_CALLS_FILE,
        "a scored chunk",
        "of the input",
        {
            "id": Column("name of the read and number of the chunk, as in sample7_chunk_1"),
            "name": _NAME,
            "chunk": Column("number of the chunk in the read, from 1"),
            "is_virus": Column(
                "largest P(virus) at least the largest P(others), or at least the threshold wanted"
            ),
            "max_score_0": Column("largest P(others) of its frames", _P),
            "max_score_1": Column("largest P(virus) of its frames", _P),
            "route": _ROUTE,
            "p_virus_calibrated": Column(
                "max_score_1 as the classifier's card calibrates it", _P, _CALIBRATED
            ),
            "dust_score": Column(
                "how repetitive it is: about 5 for bases at random, 310 for one base alone",
                "0 to 310",
            ),
        },
        CHUNK_SCHEMA,
    ),
    Output(
        CONSENSUS_FILE,
        "a scored chunk, as VirNucPro writes it; tab-separated in spite of its name",
        "by Modified_ID",
        {
            "Modified_ID": Column("name of the read and number of the chunk"),
            "Is_Virus": Column("True or False"),
            "max_score_0": Column("largest P(others) of its frames", _P),
            "max_score_1": Column("largest P(virus) of its frames", _P),
        },
    ),
    Output(
        PREDICTIONS_FILE,
        "a scored frame",
        "of the input",
        {
            "id": Column("read, chunk and frame, as in sample7_chunk_1F2"),
            "label": Column("virus if p_virus is the larger, else others"),
            "p_others": Column("probability that the frame is not viral", _P),
            "p_virus": Column("probability that the frame is viral", _P),
            "route": _ROUTE,
            "p_virus_calibrated": Column("p_virus as the classifier's card calibrates it", _P, _CALIBRATED),
        },
        PREDICTION_SCHEMA,
    ),
    Output(
        PREDICTION_RESULTS_FILE,
        "a scored frame, as VirNucPro writes it",
        "of the input",
        {
            "Sequence_ID": Column("read, chunk and frame"),
            "Prediction": Column("virus or others"),
            "score1": Column("P(others)", _P),
            "score2": Column("P(virus)", _P),
        },
    ),
    Output(
        REGIONS_FILE,
        "a viral region of a long read or contig",
        "of the input, then by position",
        {
            "name": _NAME,
            "start": Column("first base, counted from 0", "bases"),
            "end": Column("the base behind the last", "bases"),
            "length": Column("length of the read or contig", "bases"),
            "chunks": Column("scored chunks in it", "chunks"),
            "mean_score": Column("mean of their max_score_1", _P),
            "mean_delta": Column("mean of their max_score_1 - max_score_0", "-1 to 1"),
            "is_whole": Column("whether it holds the first and the last scored chunk of the read or contig"),
        },
        REGION_SCHEMA,
    ),
)


Example = Mapping[str, str]
"""The text of each column of one row."""


def columns_of(file: str) -> Mapping[str, Column]:
    """The columns of a file by name."""
    return next(output.columns for output in OUTPUTS if output.file == file)


def markdown(examples: Mapping[str, Example]) -> str:
    """The tables of the page; `examples` has a row of each file, by column."""
    return "\n".join(line for output in OUTPUTS for line in _section(output, examples.get(output.file, {})))


def with_outputs(page: str, examples: Mapping[str, Example] | None = None) -> str:
    """A page with the tables between its marks. Raises ValueError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{markdown({**_examples_on(inside), **(examples or {})})}\n{END}{after}"


def _section(output: Output, example: Example) -> Iterator[str]:
    yield f"### `{output.file}`\n"
    yield f"One row: {output.row}. Order: {output.order}.\n"
    yield "| column | type | unit | meaning | null when | example |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (name, column), kind in zip(output.columns.items(), output.types(), strict=True):
        shown = example.get(name, "")
        yield f"| `{name}` | {kind} | {column.unit} | {column.meaning} | {column.null} | {shown} |"
    yield ""


def _examples_on(inside: str) -> Mapping[str, Example]:
    """The examples of a page that was written before."""
    found: dict[str, dict[str, str]] = {}
    file = ""
    for line in inside.splitlines():
        if heading := re.fullmatch(r"### `(.+)`", line):
            file = heading[1]
        elif row := re.fullmatch(r"\| `(.+?)` \|.* \| (.*)\|", line):
            found.setdefault(file, {})[row[1]] = row[2].strip()
    return found


def _examples_in(results: Path) -> dict[str, Example]:
    """A row of each file that has one: of the tables of reads the first with a call."""
    paths = {output: results / output.file for output in OUTPUTS}
    return {output.file: _row(path, output) for output, path in paths.items() if path.exists()}


def _row(path: Path, output: Output) -> Example:
    if output.schema is None:
        lines = path.read_text(encoding="utf-8").splitlines()
        return dict(zip(output.columns, lines[1].split("\t"), strict=True)) if len(lines) > 1 else {}
    rows = pq.read_table(path).to_pylist()
    example: dict[str, Any] = next((row for row in rows if row.get("call", True)), {})
    return {
        name: f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
        for name, value in example.items()
    }


if __name__ == "__main__":
    page, *results = map(Path, sys.argv[1:])
    examples = _examples_in(results[0]) if results else None
    write_text(page, with_outputs(page.read_text(encoding="utf-8"), examples))
