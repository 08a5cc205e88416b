"""Reads: the records of a drop's files as batches, streamed in the order of the files."""

from collections.abc import Iterator, Sequence

import dnaio

from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import ReadFile


def read_batches(files: Sequence[ReadFile], *, batch_bases: int = 4_000_000) -> Iterator[ReadBatch]:
    """Stream the reads of `files`, file after file, in batches of at most `batch_bases`.

    A longer read is a batch of its own. Wrong input is an InputError.
    """
    first = 0
    for file in files:
        with dnaio.open(file.path) as reader:
            records = list(reader)
        names = [f"{record.id}/{file.mate}" if file.mate else record.id for record in records]
        yield ReadBatch(first, names, Ragged.from_strings(record.sequence.encode() for record in records))
        first += len(records)
