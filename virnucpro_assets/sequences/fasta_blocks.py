"""FASTA a block of whole records at a time, as arrays: no work for a line or a letter in Python.

A block ends where a line begins with '>'. Most blocks are regular: every line is a header or
nucleotide letters. The few others (blank lines, blanks at the end of a line, comments, letters that are
no nucleotides) are left to the parser that knows what may be let through and what is wrong.
"""

import io
from collections.abc import Iterator

import numpy as np

from virnucpro_assets.sequences.letters import BOTH_CASES
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.segments import gather_segments

BLOCK_BYTES = 4_000_000

_LINE_END, _HEADER = b"\n>"


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
