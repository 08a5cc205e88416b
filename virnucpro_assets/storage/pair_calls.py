"""One row a pair of mates: `pair_calls.tsv`, made from `read_calls.parquet` where it is wanted.

Mates have the names `NAME/1` and `NAME/2`; any other read has a row of its own, as if its mate were missing. Mates may
be far apart in the drop (all of one file, then all of the other), so a line a read is sorted by name, and neighbours
are joined. Memory does not grow with the drop.

Repeated names have a number, `NAME/1_1`, `NAME/2_1`: the pair `NAME_1`. If a name has more mates 1 than mates 2, or the
other way round, nothing shows which belong together, and each has a row of its own.

Mates are called by themselves, and the pair has their call: Viral if a mate is Viral and the other is not Non-viral,
Non-viral the other way round, Ambiguous if the mates contradict each other or none is sure, empty if none has a call.
"""

import io
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.parquet import column_values, table_batches
from virnucpro_assets.storage.calls import AMBIGUOUS, CALLS, NON_VIRAL, VIRAL
from virnucpro_assets.storage.sorted_lines import SortedLines
from virnucpro_assets.storage.tables import float32_text, text_lines

PAIR_CALLS_FILE = "pair_calls.tsv"
MISSING, UNCLEAR = "missing", "unclear"
"""The reasons of a mate that is not in the drop, and of one that is one of several reads."""

OF_A_MATE = ("call", "tier", "max_score_1", "reason")
COLUMNS = ("pair", "call", *(f"mate{mate}_{column}" for mate in (1, 2) for column in OF_A_MATE))
_NO_CALL = ("", "", "")
_MATE = r"^(?P<pair>.*)/(?P<mate>[12])(?:_(?P<copy>[0-9]+))?$"
_SINGLE = "0"


def write_pair_calls(read_calls: Path, target: Path) -> int:
    """Write a row for each pair of mates, and for each read without a mate, by name; returns how many."""
    rows = 0
    with SortedLines(target.parent) as lines, atomic_file(target) as stream:
        for reads in table_batches(read_calls, ["name", *OF_A_MATE]):
            lines.add(_lines(reads))
        stream.write("\t".join(COLUMNS).encode() + b"\n")
        merged = (line[:-1].decode() for block in lines.merged() for line in io.BytesIO(block))
        for row in _rows(merged):
            stream.write(row.encode())
            rows += 1
    return rows


def pair_call(calls: Iterable[str]) -> str:
    """The call of a pair from those of its mates, of which a mate without a call has an empty one."""
    found = {call for call in calls if call}
    if not found:
        return ""
    if CALLS[VIRAL] in found and CALLS[NON_VIRAL] not in found:
        return CALLS[VIRAL]
    if CALLS[NON_VIRAL] in found and CALLS[VIRAL] not in found:
        return CALLS[NON_VIRAL]
    return CALLS[AMBIGUOUS]


def _lines(reads: Any) -> bytes:
    """A line a read: the pair's name, the mate, the number of a repeated name, and what the row says of it."""
    names = reads["name"]
    found = pc.extract_regex(names, _MATE)
    pair, mate, copy = (pc.struct_field(found, name) for name in ("pair", "mate", "copy"))
    key = [pc.coalesce(pair, names), pc.fill_null(mate, _SINGLE), pc.fill_null(copy, "")]
    scores = float32_text(column_values(reads["max_score_1"], np.float32))
    columns = [
        reads["call"].fill_null(""),
        reads["tier"].fill_null(""),
        pc.if_else(reads["call"].is_valid(), scores, pa.scalar("")),
        reads["reason"].fill_null(""),
    ]
    return text_lines([*key, *columns], "\0\t\t\t\t\t\n")


def _rows(lines: Iterator[str]) -> Iterator[str]:
    """The rows of sorted lines; a single read that has the name of a pair stays apart from its mates."""
    for name, group in groupby((line.split("\0") for line in lines), key=lambda line: line[0]):
        reads: dict[str, dict[int, list[str]]] = {_SINGLE: {}, "1": {}, "2": {}}
        for _, rest in group:
            mate, copy, *fields = rest.split("\t")
            reads[mate][int(copy or 0)] = fields
        for found in (_pairs(reads[_SINGLE], {}), _pairs(reads["1"], reads["2"])):
            for number, first, second in found:
                call = pair_call((first[0], second[0]))
                yield "\t".join((f"{name}_{number}" if number else name, call, *first, *second)) + "\n"


def _pairs(
    first: dict[int, list[str]], second: dict[int, list[str]]
) -> Iterator[tuple[int, list[str], list[str]]]:
    """The number of each pair of a name, and the fields of its mates; `first` and `second` are mates by number."""
    if len(first) == len(second):
        for copy, other in zip(sorted(first), sorted(second), strict=True):
            yield copy, first[copy], second[other]
        return
    absent = [*_NO_CALL, UNCLEAR if first and second else MISSING]
    for copy in sorted(first):
        yield copy, first[copy], absent
    for copy in sorted(second):
        yield copy, absent, second[copy]
