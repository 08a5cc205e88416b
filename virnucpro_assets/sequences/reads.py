"""Reads: the records of a drop's files as batches, streamed in the order of the files.

file -> decompressed stream -> parser -> names and letters -> batch. dnaio parses FASTQ, pysam BAM;
FASTQ with wrapped lines has a slower parser of our own. FASTA is taken a block at a time where it
is regular, and else by dnaio. What is checked of every record (it has an id, its letters are
nucleotides) is checked a batch at a time.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, cast

import dnaio
import numpy as np
from dnaio.readers import FastaReader, FastqReader

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.sequences.bam import bam_records
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.compression import HEAD_BYTES, open_decompressed
from virnucpro_assets.sequences.fasta_blocks import record_blocks, regular_records
from virnucpro_assets.sequences.formats import Format, format_of
from virnucpro_assets.sequences.letters import first_foreign_letter
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import (
    INTERLEAVED,
    ReadFile,
    check_whole_pairs,
    first_word,
    with_mates,
)
from virnucpro_assets.sequences.wrapped_fastq import is_wrapped, wrapped_records

_Piece = tuple[list[str], list[str] | Ragged]

# Bounds a batch of very short or empty reads.
_BATCH_READS = 65_536

# dnaio refuses blank lines at the end of FASTQ; they mean nothing.
_ONLY_BLANK_LINES_LEFT = re.compile(r"Premature end of file .*record was: '(\\r|\\n)+'")

# The line end is left out: it stands between names that are looked at together, and is in none.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def read_batches(files: Sequence[ReadFile], *, batch_bases: int = 4_000_000) -> Iterator[ReadBatch]:
    """Stream the reads of `files`, file after file, in batches of at most `batch_bases` letters.

    A longer read is a batch of its own; a batch never spans two files. Names are the first word
    of the header with the mate's suffix; letters keep their case. Memory is that of a batch,
    whatever the size of the files. What is no FASTA, FASTQ or BAM, is damaged, lacks an id, has
    one with control characters, or letters that are no nucleotide codes, is an InputError, and so is an
    interleaved file in which a read has no mate.
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
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        form = format_of(head, file.path)
        if form is Format.FASTA and b"\r" not in head:
            yield from _fasta_pieces(stream, file.path, batch_bases)
        elif form is Format.FASTA:
            yield from _grouped(_text_records(file.path, _fasta_records(stream)), batch_bases)
        elif form is Format.FASTQ and is_wrapped(head):
            yield from _grouped(_text_records(file.path, wrapped_records(stream, file.path)), batch_bases)
        elif form is Format.FASTQ:
            yield from _grouped(_text_records(file.path, _fastq_records(stream)), batch_bases)
    if form is Format.BAM:
        yield from _grouped(bam_records(file.path, file.mate % INTERLEAVED), batch_bases)


def _fasta_pieces(stream: io.BufferedReader, path: Path, batch_bases: int) -> Iterator[_Piece]:
    lines = 0
    for block in record_blocks(stream):
        regular = regular_records(block)
        if regular is None:
            records = _text_records(path, _fasta_records(io.BytesIO(block)), lines)
            yield from _grouped(records, batch_bases)
        else:
            yield from _cut(*regular, batch_bases)
        lines += block.count(b"\n")


def _cut(names: list[str], bases: Ragged, batch_bases: int) -> Iterator[_Piece]:
    start = 0
    while start < len(names):
        fitting = int(np.searchsorted(bases.offsets, bases.offsets[start] + batch_bases, side="right")) - 1
        stop = max(start + 1, min(fitting, start + _BATCH_READS))
        letters = bases.data[bases.offsets[start] : bases.offsets[stop]]
        yield names[start:stop], Ragged(letters, bases.offsets[start : stop + 1] - bases.offsets[start])
        start = stop


def _fasta_records(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    # A tuple in place of dnaio's record, which allows no letter beyond ASCII in a description.
    reader = FastaReader(stream, sequence_class=lambda header, sequence, _: (first_word(header), sequence))
    return iter(cast(Iterable[tuple[str, str]], reader))


def _fastq_records(stream: io.BufferedReader) -> Iterator[tuple[str, str]]:
    yield from map(attrgetter("id", "sequence"), FastqReader(stream))


def _text_records(
    path: Path, records: Iterator[tuple[str, str]], lines_before: int = 0
) -> Iterator[tuple[str, str]]:
    """Turn the errors of the text parsers into InputErrors, which count lines from the start of the file."""
    try:
        yield from records
    except dnaio.FileFormatError as error:
        if _ONLY_BLANK_LINES_LEFT.fullmatch(error.message):
            return
        raise InputError(
            path,
            where=None if error.line is None else f"line {lines_before + error.line + 1}",
            found=excerpt(error.message).rstrip("."),
            expected="a whole and regular record",
            advice="Make or copy the file again.",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            path,
            found=f"the byte {error.object[error.start]:#04x}, which is no text",
            expected="FASTA or FASTQ in ASCII or UTF-8",
            advice="Save the file as plain text, or check where it comes from.",
        ) from error


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
    """Refuse an id that is none; the first of the names is that of record `position` (from 0) of its file."""
    if "" in names:
        raise InputError(
            path,
            where=f"record {position + names.index('') + 1}",
            found="a header without an id",
            expected="an id right after '>' or '@'",
            advice="Give every record an id.",
        )
    # Tables and sorted files keep names apart by such characters.
    if _CONTROL.search("\n".join(names)):
        odd = next(place for place, name in enumerate(names) if _CONTROL.search(name))
        raise InputError(
            path,
            where=f"record {position + odd + 1}",
            found=f"a control character in the id {names[odd][:40]!r}",
            expected="an id of printable characters",
            advice="Rename the record, or check where the file comes from.",
        )


def _checked_letters(path: Path, position: int, names: list[str], sequences: list[str]) -> Ragged:
    """The letters of these records; see `_check_names`."""
    # A letter beyond ASCII becomes '?', which is no nucleotide either.
    data = np.frombuffer("".join(sequences).encode("ascii", "replace"), np.uint8)
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    bases = Ragged.from_lengths(data, lengths)
    foreign = first_foreign_letter(bases)
    if foreign is not None:
        index, place = foreign
        raise InputError(
            path,
            where=f"record {position + index + 1} ({excerpt(names[index])}), letter {place + 1}",
            found=f"{sequences[index][place]!r}",
            expected="nucleotide letters (A C G T U N, IUPAC codes, gaps)",
            advice="Give nucleotide sequences; proteins cannot be used.",
        )
    return bases
