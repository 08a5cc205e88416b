"""FASTQ whose sequences and qualities run over several lines: rare, old, and read line by line."""

import io
from collections.abc import Iterator
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.letters import BOTH_CASES
from virnucpro_assets.sequences.read_files import first_word


def is_wrapped(head: bytes) -> bool:
    """Whether a record in the start of a FASTQ file has a second line of sequence.

    Records of four lines are passed over; the first other one decides, and it is wrapped if its
    third line is made of nucleotide letters (else it is damaged, which the strict parser says).
    """
    lines = head.splitlines()[:-1]
    for start in range(0, len(lines) - 2, 4):
        third = lines[start + 2]
        if not third.startswith(b"+"):
            return bool(third) and not third.strip(BOTH_CASES)
    return False


def wrapped_records(stream: io.BufferedReader, path: Path) -> Iterator[tuple[str, str]]:
    """(id, sequence) of each record; a quality ends where it is as long as the sequence."""
    lines = ((number, line.decode("ascii").rstrip("\r\n")) for number, line in enumerate(stream, 1))
    for number, line in lines:
        if not line:
            continue
        if not line.startswith("@"):
            raise _damaged(path, number, f"{line[:20]!r}", "a header that starts with '@'")
        parts: list[str] = []
        for _, part in lines:
            if part.startswith("+"):
                break
            parts.append(part)
        else:
            raise _damaged(path, number, "a record without its '+' line", "header, sequence, '+' and quality")
        sequence = "".join(parts)
        quality = 0
        while quality < len(sequence) and (following := next(lines, None)):
            quality += len(following[1])
        if quality != len(sequence):
            found = f"a quality of {quality} characters"
            raise _damaged(path, number, found, f"{len(sequence)}, as long as the sequence")
        yield first_word(line[1:]), sequence


def _damaged(path: Path, line: int, found: str, expected: str) -> InputError:
    where = f"record at line {line}"
    return InputError(path, where=where, found=found, expected=expected, advice="Make the file again.")
