"""FASTA and FASTQ line by line: for the few files that the fast parsers refuse.

Read here: sequences and qualities over several lines, blank lines between records, blanks at the end of lines,
line ends of old Macs, a `+` line that says something else than the header, text that is not ASCII. A description
may hold any bytes, because it is not used.
"""

import io
from collections.abc import Iterator
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.letters import BOTH_CASES
from virnucpro_assets.sequences.read_files import first_word

_LETTERS = BOTH_CASES.decode()


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
            place, part = next(lines, (0, ""))
            if not place:
                raise _cut(path, number)
            quality += len(part)
            if len(parts) == 1:
                break
        if quality != len(sequence):
            found = f"a quality of {quality} characters"
            expected = f"{len(sequence)}, as long as the sequence"
            raise _damaged(path, f"record at line {number}", found, expected)
        yield first_word(line[1:]), sequence


def _sequence_lines(lines: Iterator[tuple[int, str]], path: Path, header: int) -> list[str]:
    """The lines up to the one that starts with '+', which is taken too; `header` is the number of the line before."""
    parts: list[str] = []
    for number, line in lines:
        if line.startswith("+"):
            return parts
        # Of the first line a foreign letter is reported with its record.
        if parts and line.strip(_LETTERS):
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
