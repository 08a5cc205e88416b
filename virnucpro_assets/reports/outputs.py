"""What is in every file of a drop's results: for docs/outputs.md, and for the descriptions in the UI.

`python -m virnucpro_assets.reports.outputs docs/outputs.md [RESULTS]` writes the page between its two marks, with a row
of the files in RESULTS as the example; without RESULTS the examples on the page stay.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
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
from virnucpro_assets.storage.pair_calls import MISSING, PAIR_CALLS_FILE, UNCLEAR
from virnucpro_assets.storage.prediction_tables import (
    PREDICTION_RESULTS_FILE,
    PREDICTION_SCHEMA,
    PREDICTIONS_FILE,
)

BEGIN, END = "<!-- outputs: begin -->\n", "<!-- outputs: end -->\n"


@dataclass(frozen=True)
class Column:
    """A column: what it means, with its unit, and when it has no value."""

    meaning: str
    null: str = ""


@dataclass(frozen=True)
class Output:
    """A file of results: what a row is, in which order, and its columns; `schema` is that of a Parquet file."""

    file: str
    row: str
    order: str
    columns: Mapping[str, Column]
    schema: Any = None


_NO_CALL = "the read has no call"
_ROUTE = Column("embeddings that scored it: joint (both), dna or protein")
_CALIBRATED = "the classifier has no calibration"
_P_CALIBRATED = "max_score_1 as a calibrated probability"
_NAME = Column("first word of the read's header, with /1 or /2 for mates")
_CALL_COLUMNS = {
    "call": Column("Viral, Non-viral or Ambiguous", _NO_CALL),
    "tier": Column("high_confidence, moderate_confidence, low_confidence or review", _NO_CALL),
    "weighted_delta": Column(
        "-1 to 1, positive for virus: mean over its chunks of max_score_1 - max_score_0, weighted by the square root "
        "of the absolute difference",
        _NO_CALL,
    ),
}
_COUNTED = {
    "n_confident_viral": Column("confidently viral chunks", _NO_CALL),
    "n_confident_nonviral": Column("confidently non-viral chunks", _NO_CALL),
    "n_ambiguous": Column("chunks with high scores for both", _NO_CALL),
    "viral_proportion": Column("n_confident_viral ÷ chunks that are not ambiguous", _NO_CALL),
    "nonviral_proportion": Column("n_confident_nonviral ÷ chunks that are not ambiguous", _NO_CALL),
}
_OF_A_MATE = {
    "call": Column("its call"),
    "tier": Column("its tier"),
    "max_score_1": Column("largest P(virus) of its frames"),
    "reason": Column(
        f"why it has no call; {MISSING} if it is not in the drop; {UNCLEAR} if repeated names do not show which it is"
    ),
}

OUTPUTS: tuple[Output, ...] = (
    Output(
        READ_CALLS_FILE,
        "read or contig",
        "in input order",
        {
            "name": _NAME,
            "length": Column("bases"),
            "chunks": Column("chunks that it was cut into"),
            "scored_chunks": Column("those that have a score"),
            "unreadable_frames": Column("stop-free frames with under half of their codons readable"),
            **_CALL_COLUMNS,
            **_COUNTED,
            "max_score_0": Column("largest P(others) of any frame", _NO_CALL),
            "max_score_1": Column("largest P(virus) of any frame", _NO_CALL),
            "reason": Column(
                "why it has no call: empty, too_short, no_codon, no_stop_free_frame or not_scored",
                "it has a call",
            ),
            "route": Column(_ROUTE.meaning, _NO_CALL),
            "p_virus_calibrated": Column(_P_CALIBRATED, f"{_NO_CALL}, or {_CALIBRATED}"),
            "q_value": Column(
                "expected share of non-viruses among reads with at least this P(virus)",
                f"{_NO_CALL}, or {_CALIBRATED}",
            ),
            "low_complexity_share": Column(
                "share of its chunks with a dust score above `low_complexity_above`",
                "the read is empty",
            ),
        },
        READ_SCHEMA,
    ),
    Output(
        CONTIG_CALLS_FILE,
        "read or contig with a call",
        "sorted by ID",
        {
            "ID": _NAME,
            **{name: Column(column.meaning) for name, column in _CALL_COLUMNS.items()},
            "n_chunks": Column("scored chunks"),
            **{name: Column(column.meaning) for name, column in _COUNTED.items()},
        },
    ),
    Output(
        PAIR_CALLS_FILE,
        "pair of mates, or read without a mate (with `--per-pair` or the setting `per_pair`)",
        "sorted by pair",
        {
            "pair": Column("name without /1 or /2"),
            "call": Column(
                "Viral or Non-viral as one mate is, unless the other is the opposite; else Ambiguous",
                "neither mate has a call",
            ),
            **{f"mate1_{name}": column for name, column in _OF_A_MATE.items()},
            **{f"mate2_{name}": Column(f"as mate1_{name}") for name in _OF_A_MATE},
        },
    ),
    Output(
        CHUNK_CALLS_FILE,
        "scored chunk",
        "in input order",
        {
            "id": Column("read and number of the chunk"),
            "name": _NAME,
            "chunk": Column("its number in the read, from 1"),
            "is_virus": Column(
                "max_score_1 is at least max_score_0; with a wanted precision or false discovery rate: "
                "P(virus) reaches its threshold"
            ),
            "max_score_0": Column("largest P(others) of its frames"),
            "max_score_1": Column("largest P(virus) of its frames"),
            "route": _ROUTE,
            "p_virus_calibrated": Column(_P_CALIBRATED, _CALIBRATED),
            "dust_score": Column("how repetitive it is: random bases about 5, one base alone 310"),
        },
        CHUNK_SCHEMA,
    ),
    Output(
        CONSENSUS_FILE,
        "scored chunk, as VirNucPro writes it (tab-separated in spite of its name)",
        "sorted by Modified_ID",
        {
            "Modified_ID": Column("read and number of the chunk"),
            "Is_Virus": Column("True or False"),
            "max_score_0": Column("largest P(others) of its frames"),
            "max_score_1": Column("largest P(virus) of its frames"),
        },
    ),
    Output(
        PREDICTIONS_FILE,
        "scored frame",
        "in input order",
        {
            "id": Column("read, chunk and frame (F1 to R3)"),
            "label": Column("virus if p_virus is the larger, else others"),
            "p_others": Column("P(others), the score for not viral"),
            "p_virus": Column("P(virus), the score for viral"),
            "route": _ROUTE,
            "p_virus_calibrated": Column("p_virus as a calibrated probability", _CALIBRATED),
        },
        PREDICTION_SCHEMA,
    ),
    Output(
        PREDICTION_RESULTS_FILE,
        "scored frame, as VirNucPro writes it",
        "in input order",
        {
            "Sequence_ID": Column("read, chunk and frame"),
            "Prediction": Column("virus or others"),
            "score1": Column("P(others)"),
            "score2": Column("P(virus)"),
        },
    ),
    Output(
        REGIONS_FILE,
        "viral region of a long read or contig",
        "in input order",
        {
            "name": _NAME,
            "start": Column("first base, counted from 0"),
            "end": Column("base after the last"),
            "length": Column("length of the read or contig"),
            "chunks": Column("scored chunks in it"),
            "mean_score": Column("mean of their max_score_1"),
            "mean_delta": Column("mean of their max_score_1 - max_score_0"),
            "is_whole": Column("whether it spans all scored chunks of the read or contig"),
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
    explained: dict[tuple[str, str], str] = {}
    return "\n".join(
        line for output in OUTPUTS for line in _section(output, examples.get(output.file, {}), explained)
    )


def with_outputs(page: str, examples: Mapping[str, Example] | None = None) -> str:
    """A page with the tables between its marks. Raises ValueError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{markdown({**_examples_on(inside), **(examples or {})})}\n{END}{after}"


def _section(output: Output, example: Example, explained: dict[tuple[str, str], str]) -> Iterator[str]:
    """A table of columns. `explained` has the file that explains a column first: later files refer to it."""
    yield f"### `{output.file}`\n"
    yield f"One row for each {output.row}, {output.order}.\n"
    yield "| column | meaning | example |"
    yield "| --- | --- | --- |"
    for name, column in output.columns.items():
        first = explained.setdefault((name, column.meaning), output.file)
        meaning = column.meaning if first == output.file else f"see `{first}`"
        yield f"| `{name}` | {meaning} | {example.get(name, '')} |"
    yield ""
    yield from _empty_where(output.columns)


def _empty_where(columns: Mapping[str, Column]) -> Iterator[str]:
    """Which columns are empty where; three or more neighbours as the first and the last of them."""
    runs: dict[str, list[str]] = {}
    for null, neighbours in groupby(columns, lambda name: columns[name].null):
        if null:
            names = [f"`{name}`" for name in neighbours]
            shown = names if len(names) < 3 else [f"{names[0]} to {names[-1]}"]
            runs.setdefault(null, []).extend(shown)
    if runs:
        rules = [f"{', '.join(shown)} if {null}" for null, shown in runs.items()]
        yield f"Empty: {'; '.join(rules)}.\n"


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
