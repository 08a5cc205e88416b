"""What a file holds, read from its first decompressed bytes: FASTA, FASTQ, BAM or nothing."""

from enum import Enum
from pathlib import Path

from virnucpro_assets.errors import InputError


class Format(Enum):
    """The kinds of files that reads come in; EMPTY has no reads and is right."""

    EMPTY = "empty"
    FASTA = "FASTA"
    FASTQ = "FASTQ"
    BAM = "BAM"


_SAM_HEADERS = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t")
_OTHER_FORMATS = (
    (_SAM_HEADERS, "SAM text", "Convert it with `samtools view -b`."),
    ((b"CRAM",), "CRAM data", "Convert it with `samtools view -b`."),
    ((b"BZh",), "bzip2 data", "Compress it with gzip or zstd instead."),
    ((b"\xfd7zXZ",), "xz data", "Compress it with gzip or zstd instead."),
    ((b"PK\x03\x04",), "a zip archive", "Unpack it first."),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"), "data compressed twice", "Decompress it once."),
)


def format_of(head: bytes, path: Path) -> Format:
    """The format of a file that starts with `head`; `path` is only for the error.

    Blank space alone is an empty file. Anything else that is none of the formats is an
    InputError that says what it looks like.
    """
    text = head.lstrip()
    if not text:
        return Format.EMPTY
    if head.startswith(b"BAM\x01"):
        return Format.BAM
    for magics, found, advice in _OTHER_FORMATS:
        if head.startswith(magics):
            raise _not_reads(path, found, advice)
    if b"\x00" in head:
        raise _not_reads(
            path, f"binary data (bytes {head[:4].hex(' ')} …)", "Check where the file comes from."
        )
    if text.startswith(b">"):
        return Format.FASTA
    if text.startswith(b"@"):
        return Format.FASTQ
    start = text[:20].decode("ascii", "replace").splitlines()[0]
    raise _not_reads(path, f"content that starts with {start!r}", "Check where the file comes from.")


def _not_reads(path: Path, found: str, advice: str) -> InputError:
    expected = "FASTA ('>'), FASTQ ('@') or BAM, plain or compressed with gzip or zstd"
    return InputError(path, found=found, expected=expected, advice=advice)
