"""Reads of a BAM file, aligned or not.

Each read comes once, as the sequencer gave it: secondary and supplementary records are left out, and a read
aligned to the reverse strand is reversed and complemented. The layout is that of the SAM specification, section 4.2.
BAM is parsed here, because the checksums of the compressed data are checked already, and htslib's own reader writes
to standard error about some damaged files.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.sequences.read_files import with_mate

MAGIC = b"BAM\x01"
_REVERSE, _MATE_1, _MATE_2, _SECONDARY_OR_SUPPLEMENTARY = 0x10, 0x40, 0x80, 0x100 | 0x800
# block_size, then l_read_name, n_cigar_op, flag and l_seq of the fixed fields.
_SIZE = Struct("<I")
_FIELDS = Struct("<8x B 3x HHI 12x")
# Four bits a base; `bytes.hex` gives one digit a base.
_BASES = str.maketrans("0123456789abcdef", "=ACMGRSVTWYHKDBN")
_COMPLEMENT = str.maketrans("ACMGRSVTWYHKDBN", "TGKCYSBAWRDMHVN")
# The extra field in the header of a gzip member that is a block of BGZF.
_BGZF, _BGZF_POSITION = b"BC\x02\x00", 12
# The empty block that ends a whole file, without the NULs at its end.
_LAST_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003")
_PADDING = b"\x00\t\n\r "


def bam_records(stream: io.BufferedReader, path: Path, mate: int) -> Iterator[tuple[str, str]]:
    """(name, sequence) of each read of the decompressed BAM in `stream`; `path` is the file that it comes from.

    The flags, or else `mate`, say which suffix a name gets. A read whose sequence is not stored is empty. A cut or
    damaged file is an InputError.
    """
    _check_last_block(path)
    _read(stream, len(MAGIC), path)
    _read(stream, _number(stream, path), path)
    for _ in range(_number(stream, path)):
        _read(stream, _number(stream, path) + _SIZE.size, path)
    while size := stream.read(_SIZE.size):
        if size == MAGIC:
            raise InputError(
                path,
                found="a second BAM file behind the end of the first",
                expected="one BAM file",
                advice="Give the files one by one, or join them with `samtools cat`.",
            )
        if len(size) < _SIZE.size:
            raise _damaged(path, "the end of the file inside a record")
        name, flag, sequence = _fields(_read(stream, _SIZE.unpack(size)[0], path), path)
        if not flag & _SECONDARY_OR_SUPPLEMENTARY:
            flagged = 1 if flag & _MATE_1 else 2 if flag & _MATE_2 else mate
            yield with_mate(name, flagged), sequence


def _fields(record: bytes, path: Path) -> tuple[str, int, str]:
    """Name, flags and sequence of a record."""
    if len(record) < _FIELDS.size:
        raise _damaged(path, f"a record of {counted(len(record), 'byte')}")
    name_length, operations, flag, bases = _FIELDS.unpack_from(record)
    start = _FIELDS.size + name_length + 4 * operations
    end = start + (bases + 1) // 2
    if end + bases > len(record) or not name_length:
        raise _damaged(
            path,
            f"a record of {counted(len(record), 'byte')} that is too short for its {counted(bases, 'base')}",
        )
    name = record[_FIELDS.size : _FIELDS.size + name_length - 1].decode("utf-8", "surrogateescape")
    sequence = record[start:end].hex().translate(_BASES)[:bases]
    return name, flag, sequence.translate(_COMPLEMENT)[::-1] if flag & _REVERSE else sequence


def _number(stream: io.BufferedReader, path: Path) -> int:
    return int(_SIZE.unpack(_read(stream, _SIZE.size, path))[0])


def _read(stream: io.BufferedReader, size: int, path: Path) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise _damaged(path, "the end of the file inside its header or a record")
    return content


def _check_last_block(path: Path) -> None:
    """Raise InputError if the file is in BGZF and lacks the block that ends it: a cut may fall between two blocks."""
    with path.open("rb") as file:
        if not file.read(_BGZF_POSITION + len(_BGZF)).endswith(_BGZF):
            return
        file.seek(-min(4096, file.seek(0, io.SEEK_END)), io.SEEK_END)
        if not file.read().rstrip(_PADDING).endswith(_LAST_BLOCK):
            raise _damaged(path, "no end-of-file block")


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        path,
        found=f"damaged BAM data ({found})",
        expected="a whole BAM file that ends with its end-of-file block",
        advice="Copy the file again or write it again with `samtools view -b`.",
    )
