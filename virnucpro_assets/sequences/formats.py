"""The format of a file, from its first decompressed bytes: FASTA, FASTQ, BAM or empty."""

from enum import Enum
from pathlib import Path

from virnucpro_assets.errors import InputError


class Format(Enum):
    """The formats of reads; an EMPTY file has no reads and is valid."""

    EMPTY = "empty"
    FASTA = "FASTA"
    FASTQ = "FASTQ"
    BAM = "BAM"


ENDINGS = ("fastq", "fq", "fasta", "fa", "fna", "fas", "ubam", "bam")
"""How the names of files of reads end, before that of a compression."""
COMPRESSED = ("gz", "bgz", "zst", "zstd", "bz2", "xz")

_SAM_HEADERS = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t")
_UNPACK = "Unpack it, and give the files of reads in it."
_OTHER_FORMATS = (
    (_SAM_HEADERS, "SAM text", "Convert it with `samtools view -b`."),
    ((b"CRAM",), "CRAM data", "Convert it with `samtools view -b`."),
    ((b"NCBI.sra",), "an SRA archive", "Convert it with `fasterq-dump`."),
    ((b"\x89HDF",), "HDF5 data (as FAST5)", "Call the bases first, and give the FASTQ."),
    ((b"\x8bPOD\r\n",), "POD5 data", "Call the bases first, and give the FASTQ."),
    ((b"PK\x03\x04", b"PK\x05\x06"), "a zip archive", _UNPACK),
    ((b"7z\xbc\xaf\x27\x1c",), "a 7z archive", _UNPACK),
    ((b"Rar!\x1a",), "a rar archive", _UNPACK),
    ((b"\x1f\x9d",), "data packed with compress (.Z)", "Unpack it with `gzip -d`."),
    ((b"\x04\x22\x4d\x18",), "lz4 data", "Unpack it with `lz4 -d`."),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"), "data compressed twice", "Decompress it once."),
    ((b"\xff\xfe", b"\xfe\xff"), "UTF-16 text", "Save it as UTF-8."),
    ((b"%PDF",), "a PDF", "Give the file of reads."),
    ((b"version https://git-lfs",), "a Git LFS pointer", "Fetch the file itself with `git lfs pull`."),
    ((b"<",), "a web page or XML", "Fetch the file again: a server sent this in its place."),
    ((b"LOCUS ", b"ID   "), "GenBank or EMBL text", "Convert it to FASTA."),
)
_TAR_MAGIC, _TAR_PLACE = b"ustar", 257


def format_of(head: bytes, path: Path) -> Format:
    """The format of a file that starts with `head`; `path` is only for the error.

    A file of blank space only is empty. Any other content raises an InputError that names what it looks like.
    """
    text = head.lstrip()
    if not text:
        return Format.EMPTY
    if head.startswith(b"BAM\x01"):
        return Format.BAM
    for magics, found, advice in _OTHER_FORMATS:
        if text.startswith(magics):
            raise _not_reads(path, found, advice)
    if head.startswith(_TAR_MAGIC, _TAR_PLACE):
        raise _not_reads(path, "a tar archive", _UNPACK)
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
    expected = "FASTA ('>'), FASTQ ('@') or BAM, plain or compressed with gzip, zstd, bzip2 or xz"
    return InputError(path, found=found, expected=expected, advice=advice)
