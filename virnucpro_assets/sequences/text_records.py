"""FASTA and FASTQ: a fast parser for regular FASTA, and slow ones that read a line at a time.

The fast parser takes a block of whole records as arrays, without work for a line or a letter in Python. A block ends
where a line begins with '>'. Most blocks are regular: every line is a header or nucleotide letters. The others (blank
lines, blanks at line ends, comments, letters that are no nucleotides) go to the slow parser.

The slow parsers read what the fast ones (that above, and dnaio's for FASTQ) refuse: sequences and qualities over
several lines, blank lines between records, blanks at line ends, line ends of old Macs, a `+` line that differs from
the header, text that is not ASCII. A description may hold any bytes, because it is not used.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.sequences.ragged import Ragged, gather_segments
from virnucpro_assets.sequences.read_files import first_word

BLOCK_BYTES = 4_000_000
_LINE_END, _HEADER = b"\n>"

# The IUPAC nucleotide codes (Cornish-Bowden, Nucleic Acids Research 1985), U of RNA, X which
# maskers write, and the gaps of alignments: '-', '.' and '*' (the padding of assembly files).
NUCLEOTIDE_LETTERS = b"ACGTUNRYSWKMBDHVX-.*"

BOTH_CASES = NUCLEOTIDE_LETTERS + NUCLEOTIDE_LETTERS.lower()

_IS_INVALID = np.ones(256, bool)
_IS_INVALID[np.frombuffer(BOTH_CASES, np.uint8)] = False
_BOTH_CASES_TEXT = BOTH_CASES.decode()


def first_invalid_base(sequences: Ragged) -> tuple[int, int] | None:
    """(sequence, position in it), both from 0, of the first letter that is no nucleotide code."""
    # Deleting by table is three times as fast as a look-up, and nearly always nothing is left.
    if not sequences.data.tobytes().translate(None, BOTH_CASES):
        return None
    position = int(_IS_INVALID[sequences.data].argmax())
    sequence = int(np.searchsorted(sequences.offsets, position, side="right")) - 1
    return sequence, position - int(sequences.offsets[sequence])


def record_blocks(stream: io.BufferedReader, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Cut `stream` into blocks of whole records of about `block_bytes`; a longer record is in a longer block."""
    pieces: list[bytes] = []
    piece = stream.read(block_bytes)
    while following := stream.read(block_bytes):
        is_whole = piece.endswith(b"\n") and following.startswith(b">")
        if border := len(piece) if is_whole else piece.rfind(b"\n>") + 1:
            yield b"".join([*pieces, piece[:border]])
            pieces = [piece[border:]]
        else:
            pieces.append(piece)
        piece = following
    yield b"".join([*pieces, piece])


def regular_records(block: bytes) -> tuple[list[str], Ragged] | None:
    """The ids and the letters of the records in a block; None if the block is not regular.

    The id is the first word of a header, empty if that starts with a blank.
    """
    if not block.startswith(b">") or b"\r" in block:
        return None
    text = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", np.uint8)
    ends = np.flatnonzero(text == _LINE_END)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    is_header = text[starts] == _HEADER
    lengths = ends - starts
    letters = gather_segments(text, starts[~is_header], lengths[~is_header])
    if not lengths.all() or letters.data.tobytes().translate(None, BOTH_CASES):
        return None
    headers = gather_segments(text, starts[is_header], lengths[is_header] + 1).data.tobytes()
    try:
        lines = headers.decode().split("\n")[:-1]
    except UnicodeDecodeError:
        return None
    record = np.cumsum(is_header)[~is_header] - 1
    in_record = np.bincount(record, letters.lengths, len(lines)).astype(np.int64)
    return [line.split(None, 1)[0][1:] for line in lines], Ragged.from_lengths(letters.data, in_record)


def fasta_records(stream: io.BufferedReader | io.BytesIO) -> Iterator[tuple[str, str]]:
    """(id, sequence) of each record; lines that start with '#' are comments."""
    name: str | None = None
    parts: list[str] = []
    for padded in _lines(stream, newline=None):
        line = padded.lstrip(" \t")
        if line.startswith(">"):
            if name is not None:
                yield name, "".join(parts)
            name, parts = first_word(line[1:]), []
        elif not line.startswith("#"):
            parts.append(line)
    if name is not None:
        yield name, "".join(parts)


def fastq_records(stream: io.BufferedReader, path: Path) -> Iterator[tuple[str, str]]:
    """(id, sequence) of each record of the FASTQ in `stream`; `path` is only for errors.

    A quality has one line if the sequence has one, else it ends where it is as long as the sequence.
    """
    is_old_mac = b"\n" not in stream.peek(1)
    lines = enumerate(_lines(stream, newline="\r" if is_old_mac else "\n"), 1)
    for number, line in lines:
        if not line:
            continue
        if not line.startswith("@"):
            raise _damaged(path, f"line {number}", repr(line[:20]), "a header that starts with '@'")
        parts = _sequence_lines(lines, path, number)
        sequence = "".join(parts)
        quality = 0
        while quality < len(sequence):
            line_number, part = next(lines, (0, ""))
            if not line_number:
                raise _cut(path, number)
            quality += len(part)
            if len(parts) == 1:
                break
        if quality != len(sequence):
            found = f"a quality of {counted(quality, 'character')}"
            expected = f"{len(sequence)}, as long as the sequence"
            raise _damaged(path, f"record at line {number}", found, expected)
        yield first_word(line[1:]), sequence


def _sequence_lines(lines: Iterator[tuple[int, str]], path: Path, header: int) -> list[str]:
    """The lines up to the one that starts with '+', which is consumed; `header` is the number of the line before."""
    parts: list[str] = []
    for number, line in lines:
        if line.startswith("+"):
            return parts
        # An invalid letter in the first line is reported later, with its record.
        if parts and line.strip(_BOTH_CASES_TEXT):
            expected = "nucleotide letters, or the line that starts with '+'"
            raise _damaged(path, f"line {number}", repr(line[:20]), expected)
        parts.append(line)
    raise _cut(path, header)


def _lines(stream: io.BufferedReader | io.BytesIO, newline: str | None) -> Iterator[str]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    return (line.rstrip(" \t\r\n") for line in text)


def _cut(path: Path, line: int) -> InputError:
    return _damaged(path, f"record at line {line}", "the end of the file", "sequence, '+' and quality")


def _damaged(path: Path, where: str, found: str, expected: str) -> InputError:
    advice = "Make or copy the file again."
    return InputError(path, where=where, found=found, expected=expected, advice=advice)
