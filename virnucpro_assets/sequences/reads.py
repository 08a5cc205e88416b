"""Reads: the records of a drop's files as batches, streamed in the order of the files.

file -> decompressed stream -> parser -> names and letters -> batch. dnaio parses FASTQ, `bam` BAM, and regular
FASTA is read a block at a time. What these refuse goes to the slower parsers of `text_records`. The rules for
every record (it has an id, its letters are nucleotides) are checked a batch at a time.
"""

import io
import re
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from operator import attrgetter
from pathlib import Path

import dnaio
import numpy as np
from dnaio.readers import FastqReader

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.files.user_paths import require_plain_file
from virnucpro_assets.sequences.bam import bam_records
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.compression import HEAD_BYTES, open_decompressed
from virnucpro_assets.sequences.formats import Format, format_of
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import INTERLEAVED, ReadFile, check_whole_pairs, with_mates
from virnucpro_assets.sequences.text_records import (
    fasta_records,
    fastq_records,
    first_invalid_base,
    record_blocks,
    regular_records,
)

_Piece = tuple[list[str], list[str] | Ragged]

# Bounds a batch of very short or empty reads.
_BATCH_READS = 65_536
_PRINTED_LETTERS = 80

# dnaio refuses blank lines at the end of FASTQ; they mean nothing.
_ONLY_BLANK_LINES_LEFT = re.compile(r"Premature end of file .*record was: '(\\r|\\n)+'")

# Control characters, and decoded bytes that are no UTF-8. Without the line end, which joins the names for the search.
_ODD_LETTER = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\udc80-\udcff]")


def read_batches(files: Sequence[ReadFile], *, batch_bases: int = 4_000_000) -> Iterator[ReadBatch]:
    """Stream the reads of `files`, file after file, in batches of at most `batch_bases` letters.

    A longer read is a batch of its own; a batch never spans two files. Names are the first word
    of the header with the mate's suffix; letters keep their case. The memory is that of a batch, whatever the size of
    the files. Raises InputError for a file that is no FASTA, FASTQ or BAM or is damaged, for a record without an id,
    with control characters in it or with letters that are no nucleotide codes, and for an interleaved file in which a
    read has no mate.
    """
    first = 0
    for file in files:
        position, last = 0, ""
        for names, sequences in _pieces(file, batch_bases):
            _check_names(file.path, position, names)
            if isinstance(sequences, Ragged):
                bases = sequences
            else:
                bases = _checked_letters(file.path, position, names, sequences)
            yield ReadBatch(first, with_mates(file, position, names, last), bases, file.path)
            position += len(names)
            first += len(names)
            last = names[-1]
        check_whole_pairs(file, position)


def _pieces(file: ReadFile, batch_bases: int) -> Iterator[_Piece]:
    """The records of a file, at most `batch_bases` letters or one record at a time; an id is empty if there is none.

    Letters that are known to be nucleotides come as one array.
    """
    with open_decompressed(file.path) as stream:
        head = _head(stream)
        form = format_of(head, file.path)
        if form is Format.FASTA and b"\r" not in head:
            yield from _fasta_pieces(stream, batch_bases)
        elif form is Format.FASTA:
            yield from _grouped(fasta_records(stream), batch_bases)
        elif form is Format.FASTQ:
            yield from _fastq_pieces(stream, file.path, batch_bases)
        elif form is Format.BAM:
            yield from _grouped(bam_records(stream, file.path, file.mate % INTERLEAVED), batch_bases)


def _head(stream: io.BufferedReader) -> bytes:
    """The start of `stream`, after a byte-order mark and blank space of any length are skipped."""
    if stream.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
        stream.read(len(BOM_UTF8))
    while (head := stream.peek(HEAD_BYTES)[:HEAD_BYTES]) and not head.strip():
        stream.read(len(head))
    return head


def _fasta_pieces(stream: io.BufferedReader, batch_bases: int) -> Iterator[_Piece]:
    for block in record_blocks(stream):
        regular = regular_records(block)
        if regular is None:
            yield from _grouped(fasta_records(io.BytesIO(block)), batch_bases)
        else:
            yield from _cut(*regular, batch_bases)


def _cut(names: list[str], bases: Ragged, batch_bases: int) -> Iterator[_Piece]:
    start = 0
    while start < len(names):
        fitting = int(np.searchsorted(bases.offsets, bases.offsets[start] + batch_bases, side="right")) - 1
        stop = max(start + 1, min(fitting, start + _BATCH_READS))
        letters = bases.data[bases.offsets[start] : bases.offsets[stop]]
        yield names[start:stop], Ragged(letters, bases.offsets[start : stop + 1] - bases.offsets[start])
        start = stop


def _fastq_pieces(stream: io.BufferedReader, path: Path, batch_bases: int) -> Iterator[_Piece]:
    """The records by dnaio; from the first piece that it refuses, or that has invalid letters, by our parser."""
    given = 0
    try:
        for names, sequences in _grouped(_regular_fastq(stream), batch_bases):
            bases = _letters(sequences)
            if first_invalid_base(bases):
                break
            yield names, bases
            given += len(names)
        else:
            return
    except dnaio.FileFormatError:
        # If anything is wrong, the parser below names the line.
        pass
    with open_decompressed(path) as again:
        yield from _grouped(islice(fastq_records(again, path), given, None), batch_bases)


def _regular_fastq(stream: io.BufferedReader) -> Iterator[tuple[str, str]]:
    try:
        yield from map(attrgetter("id", "sequence"), FastqReader(stream))
    except dnaio.FileFormatError as error:
        if not _ONLY_BLANK_LINES_LEFT.fullmatch(error.message):
            raise


def _grouped(records: Iterator[tuple[str, str]], batch_bases: int) -> Iterator[tuple[list[str], list[str]]]:
    """Names and sequences of consecutive records, at most `batch_bases` letters or one record."""
    names: list[str] = []
    sequences: list[str] = []
    bases = 0
    for name, sequence in records:
        bases += len(sequence)
        if names and (bases > batch_bases or len(names) == _BATCH_READS):
            yield names, sequences
            names, sequences, bases = [], [], len(sequence)
        names.append(name)
        sequences.append(sequence)
    if names:
        yield names, sequences


def _check_names(path: Path, position: int, names: list[str]) -> None:
    """Raise InputError for an invalid id; the first of the names is that of record `position` (from 0) of its file."""
    if "" in names:
        raise InputError(
            path,
            where=f"record {position + names.index('') + 1}",
            found="a header without an id",
            expected="an id right after '>' or '@'",
            advice="Give every record an id.",
        )
    # Such characters separate names in tables and sorted files.
    if _ODD_LETTER.search("\n".join(names)):
        odd, letter = next(
            (index, match[0]) for index, name in enumerate(names) if (match := _ODD_LETTER.search(name))
        )
        what = "a byte that is no UTF-8" if letter >= "\udc80" else "a control character"
        raise InputError(
            path,
            where=f"record {position + odd + 1}",
            found=f"{what} in the id {names[odd][:40]!r}",
            expected="an id of printable characters",
            advice="Rename the record, or check where the file comes from.",
        )


def _letters(sequences: list[str]) -> Ragged:
    # A letter beyond ASCII becomes '?', which is no nucleotide either.
    data = np.frombuffer("".join(sequences).encode("ascii", "replace"), np.uint8)
    return Ragged.from_lengths(data, np.fromiter(map(len, sequences), np.int64, len(sequences)))


def _checked_letters(path: Path, position: int, names: list[str], sequences: list[str]) -> Ragged:
    """The letters of these records; see `_check_names`."""
    bases = _letters(sequences)
    invalid = first_invalid_base(bases)
    if invalid is not None:
        index, letter = invalid
        raise InputError(
            path,
            where=f"record {position + index + 1} ({excerpt(names[index])}), letter {letter + 1}",
            found=f"{sequences[index][letter]!r}",
            expected="nucleotide letters (A C G T U N, IUPAC codes, gaps)",
            advice="Give nucleotide sequences; proteins cannot be used.",
        )
    return bases


def likely_mates(files: Sequence[ReadFile]) -> Iterator[str]:
    """A line for each single file that begins with two reads of one name, and each two that begin with the same name.

    A file that cannot be read is skipped: reading it as a whole gives the error.
    """
    begun: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        names = [] if file.mate else _first_names(file)
        if names:
            begun[names[0]].append(file.path)
        if len(names) == 2 and names[0] == names[1]:
            yield (
                f"{file.path} begins with two reads called {names[0][:_PRINTED_LETTERS]}. They are taken as single "
                "reads; if the file holds alternating mates, give --interleaved"
            )
    for name, paths in begun.items():
        if len(paths) == 2:
            yield (
                f"{paths[0]} and {paths[1]} both begin with a read called {name[:_PRINTED_LETTERS]}. They are taken as "
                "single reads; if they hold mates, give --paired"
            )


def _first_names(file: ReadFile) -> list[str]:
    with suppress(InputError, OSError):
        # A pipe can be read only once.
        require_plain_file(file.path)
        return [name for batch in islice(read_batches([file], batch_bases=1), 2) for name in batch.names]
    return []
