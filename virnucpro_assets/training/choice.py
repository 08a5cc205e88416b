"""Which rows of labelled drops are in a training set, and in which split.

1. Rows whose nucleotides occur in both classes are left out: their class is unknown.
2. Sources are assigned to the splits, see `splits`.
3. The test split is balanced. Then rows that are identical or near-identical to a row of an earlier split are removed
   from validation and training, and these are balanced. So no row of the test split resembles a training row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.storage.training_set import SourceRecord
from virnucpro_assets.training.leakage import Seen, digests_of
from virnucpro_assets.training.options import SetOptions
from virnucpro_assets.training.rows import SourceRows
from virnucpro_assets.training.splits import (
    FEWEST_SOURCES,
    LEFT_OUT,
    SPLITS,
    TEST,
    TRAINING,
    VALIDATION,
    balanced,
    split_of_regions,
    split_of_sources,
)
from virnucpro_assets.vocabulary import LABELS, Label

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """int64 [n]: the split of every row, or LEFT_OUT; with counts and notes about the choice."""

    split: Integers
    left_out: dict[str, int]
    counts: dict[str, dict[Label, int]]
    sources: list[SourceRecord]
    notes: list[str]


def choose_rows(rows: SourceRows, options: SetOptions) -> Choice:
    """Assign, remove leaks and balance; InputError if a split has no rows of one of the classes."""
    split, by_regions = _assigned(rows, options)
    left_out = {"quarantined": rows.quarantined, "at_borders_of_regions": int((split == LEFT_OUT).sum())}
    if rows.whole_chunks:
        left_out["whole_chunks"] = rows.whole_chunks
    contradicting = _contradicting(rows)
    left_out["in_both_classes"] = int((contradicting & (split != LEFT_OUT)).sum())
    split[contradicting] = LEFT_OUT
    left_out |= _without_leaks_and_balanced(rows, split, options)
    counts = {
        name: {
            label: int(((split == position) & (rows.is_virus == (label == "virus"))).sum())
            for label in LABELS
        }
        for position, name in enumerate(SPLITS)
    }
    _require_both_classes(counts)
    return Choice(split, left_out, counts, _records(rows, split, by_regions), _notes(rows, by_regions))


def _assigned(rows: SourceRows, options: SetOptions) -> tuple[Integers, set[Label]]:
    """The split of every row, and the classes that are split by regions."""
    split = np.full(len(rows.row), LEFT_OUT, np.int64)
    shares = (options.validation_share, options.test_share)
    by_regions: set[Label] = set()
    for label in LABELS:
        positions = [position for position, (of, _) in enumerate(rows.sources) if of == label]
        positions = [position for position in positions if (rows.source == position).any()]
        if len(positions) >= FEWEST_SOURCES:
            names = [rows.sources[position][1] for position in positions]
            counts = np.bincount(rows.source, minlength=len(rows.sources))[positions]
            dealt = split_of_sources(names, counts, shares, options.seed)
            of_source = np.full(len(rows.sources), LEFT_OUT, np.int64)
            of_source[positions] = dealt
            own = np.isin(rows.source, positions)
            split[own] = of_source[rows.source[own]]
        else:
            by_regions.add(label)
            for position in positions:
                own = rows.source == position
                split[own] = split_of_regions(rows.position[own], shares)
    return split, by_regions


def _contradicting(rows: SourceRows) -> npt.NDArray[np.bool_]:
    digests = np.zeros(len(rows.row), np.uint64)
    for positions, batch in rows.sequences(np.arange(len(rows.row))):
        digests[positions] = digests_of(batch.nucleotides)
    both = np.intersect1d(digests[rows.is_virus], digests[~rows.is_virus])
    return np.isin(digests, both)


def _without_leaks_and_balanced(rows: SourceRows, split: Integers, options: SetOptions) -> dict[str, int]:
    """Remove leaks and surplus rows from `split`; returns how many rows by reason."""
    seen, random = Seen(), np.random.default_rng(options.seed)
    gone = {"identical_to_another_split": 0, "near_identical_to_another_split": 0, "for_balance": 0}
    for this in (TEST, VALIDATION, TRAINING):
        wanted = np.flatnonzero(split == this)
        for positions, batch in rows.sequences(wanted):
            identical = seen.identical(batch)
            near = ~identical & (seen.shared(batch) >= options.near_identical)
            split[positions[identical | near]] = LEFT_OUT
            gone["identical_to_another_split"] += int(identical.sum())
            gone["near_identical_to_another_split"] += int(near.sum())
        wanted = wanted[split[wanted] == this]
        kept = wanted[balanced(rows.is_virus[wanted], rows.source[wanted], options.source_factor, random)]
        gone["for_balance"] += len(wanted) - len(kept)
        split[wanted] = LEFT_OUT
        split[kept] = this
        for _, batch in rows.sequences(kept):
            seen.add(batch)
        seen.settle()
    return gone


def _require_both_classes(counts: dict[str, dict[Label, int]]) -> None:
    for name, by_label in counts.items():
        # One row is too few for the variance in batch norm, and for the interval of an AUROC.
        if min(by_label.values()) < 2:
            found = ", ".join(
                f"{counted(count, 'row')} of class {label}" for label, count in by_label.items()
            )
            raise InputError(
                f"training set, {name}",
                found=found,
                expected="at least 2 of each class",
                advice="Give more or longer sequences, or sources that share less with each other.",
            )


def _records(rows: SourceRows, split: Integers, by_regions: set[Label]) -> list[SourceRecord]:
    table = np.zeros((len(rows.sources), len(SPLITS)), np.int64)
    kept = split != LEFT_OUT
    np.add.at(table, (rows.source[kept], split[kept]), 1)
    records = []
    for (label, name), of_splits in zip(rows.sources, table.tolist(), strict=True):
        found = {split: count for split, count in zip(SPLITS, of_splits, strict=True) if count}
        where = "regions" if label in by_regions else next(iter(found), "none")
        records.append(SourceRecord(name=name, label=label, split=where, rows=found))
    return records


def _notes(rows: SourceRows, by_regions: set[Label]) -> list[str]:
    notes = []
    for label in LABELS:
        names = [name for of, name in rows.sources if of == label]
        if label in by_regions:
            notes.append(
                f"{label}: {counted(len(names), 'source')}, too few to split by genome; split by "
                "regions of the input, so the accuracy on other genomes is unknown."
            )
        elif len(names) > 100 and _reads(rows, label) < 2 * len(names):
            notes.append(
                f"{label}: nearly every read is a source of its own; if the reads are of few genomes, name them in "
                "the column source of the table, or use --sources drops."
            )
    return notes


def _reads(rows: SourceRows, label: str) -> int:
    """How many chunks the rows of a class come from: for short reads about as many as reads."""
    return len(np.unique(rows.position[rows.is_virus == (label == "virus")]))
