"""The rows of labelled drops: class, source, and position in the input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.drops.work import DropWork, fitting_merged
from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.index import RowBatch, SequenceIndex
from virnucpro_assets.storage.merged import MergedManifest, quarantined_rows
from virnucpro_assets.training.labels import LabelledDrop, SourcesBy
from virnucpro_assets.vocabulary import Label

Integers = npt.NDArray[np.int64]

_BLOCK = 8192


@dataclass(frozen=True)
class SourceRows:
    """All rows of some drops that could be embedded, drop after drop, in the order of each index.

    Whole chunks of reads without an open frame are left out: they have no protein.

    int64 [n] each: `drop` and `source` are positions in `works` and `sources`, `row` is the row of the drop's index,
    `position` is the number of the chunk of the row's first member, counted over all drops in the order of the input,
    and `read_length` is the length of its read in bases. `is_virus` is bool [n].
    """

    works: list[DropWork]
    merged: list[MergedManifest]
    sources: list[tuple[Label, str]]
    drop: Integers
    row: Integers
    is_virus: npt.NDArray[np.bool_]
    source: Integers
    position: Integers
    read_length: Integers
    quarantined: int
    whole_chunks: int

    def sequences(self, wanted: Integers) -> Iterator[tuple[Integers, RowBatch]]:
        """The rows at the ascending positions `wanted`, in blocks, each with its positions."""
        for drop, work in enumerate(self.works):
            of_drop = wanted[self.drop[wanted] == drop]
            for start in range(0, work.index.manifest.rows, _BLOCK):
                first, last = np.searchsorted(self.row[of_drop], (start, start + _BLOCK))
                if first < last:
                    batch, some = work.index.rows(start, start + _BLOCK), of_drop[first:last]
                    rows = self.row[some] - start
                    yield (
                        some,
                        RowBatch(batch.rows[rows], batch.proteins.take(rows), batch.nucleotides.take(rows)),
                    )


def gather_rows(works: Sequence[DropWork], labelled: Sequence[LabelledDrop], by: SourcesBy) -> SourceRows:
    """The rows of drops that are indexed, embedded and merged; `by` says where sources are taken from.

    Raises IntegrityError if embeddings of a drop are missing or made with other settings, InputError if the
    drops are cut into chunks of different lengths.
    """
    lengths = {work.drop.key: work.index.manifest.chunk_length for work in works}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "training sources",
            found=", ".join(f"chunks of {length} in {key}" for key, length in lengths.items()),
            expected="one chunk length",
            advice="Train a classifier for each length, on drops of that length.",
        )
    sources: dict[tuple[Label, str], int] = {}
    merged = [fitting_merged(work) for work in works]
    columns: list[tuple[Integers, ...]] = []
    chunks = quarantined = whole_chunks = 0
    for number, (work, view, one) in enumerate(zip(works, merged, labelled, strict=True)):
        read, position = _first_members(work.index, chunks)
        chunks = max(chunks, int(position.max(initial=chunks - 1)) + 1)
        of_read, length = _of_reads(work.index, one, by, sources)
        missing = np.unique(np.concatenate([*quarantined_rows(work.folder.path, view).values()]))
        with_protein = work.index.manifest.rows_with_protein
        row = np.setdiff1d(np.arange(with_protein), missing)
        quarantined += int((missing < with_protein).sum())
        whole_chunks += work.index.manifest.rows - with_protein
        whole = np.full(len(row), number, np.int64)
        virus = np.full(len(row), one.label == "virus", np.int64)
        columns.append((whole, row, virus, of_read[read[row]], position[row], length[read[row]]))
    drop, row, virus, source, position, read_length = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    return SourceRows(
        works=list(works),
        merged=merged,
        sources=list(sources),
        drop=drop,
        row=row,
        is_virus=virus == 1,
        source=source,
        position=position,
        read_length=read_length,
        quarantined=quarantined,
        whole_chunks=whole_chunks,
    )


def _first_members(index: SequenceIndex, chunks: int) -> tuple[Integers, Integers]:
    """int64 [rows] each: the read of the first member of every row, and its chunk, counted from `chunks`."""
    read = np.full(index.manifest.rows, -1, np.int64)
    position = np.full(index.manifest.rows, -1, np.int64)
    last = (-1, -1)
    for batch in index.member_batches():
        if not len(batch.row):
            continue
        changes = np.empty(len(batch.read), np.int64)
        changes[1:] = (np.diff(batch.read) != 0) | (np.diff(batch.chunk) != 0)
        changes[:1] = (int(batch.read[0]), int(batch.chunk[0])) != last
        numbers = chunks - 1 + np.cumsum(changes)
        rows, first = np.unique(batch.row, return_index=True)
        new = read[rows] < 0
        read[rows[new]], position[rows[new]] = batch.read[first[new]], numbers[first[new]]
        chunks, last = int(numbers[-1]) + 1, (int(batch.read[-1]), int(batch.chunk[-1]))
    return read, position


def _of_reads(
    index: SequenceIndex, one: LabelledDrop, by: SourcesBy, sources: dict[tuple[Label, str], int]
) -> tuple[Integers, Integers]:
    """int64 [reads] each: the source of every read, added to `sources` if it is new, and its length."""
    found: list[int] = []
    lengths: list[Integers] = [np.empty(0, np.int64)]
    for batch in index.read_batches():
        keys = ((one.label, one.source_of(name, by)) for name in batch.names)
        found += [sources.setdefault(key, len(sources)) for key in keys]
        lengths.append(batch.lengths)
    return np.array(found, np.int64), np.concatenate(lengths)
