"""Wrong input: each ends as one line that says where, what was found, what was expected, what to do."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches


def error_of(path: Path) -> str:
    """The message of the error that reading `path` ends with, less the path."""
    with pytest.raises(InputError) as error:
        list(read_batches([ReadFile(path)]))
    message = str(error.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    assert "; expected " in message
    return message.removeprefix(str(path))


NOISE = np.random.default_rng(3).bytes(5000)
LONG_FASTQ = b"".join(
    b"@r%d\n%b\n+\n%b\n" % (number, sequence, b"I" * 150)
    for number, sequence in enumerate(
        np.random.default_rng(4)
        .choice(np.frombuffer(b"ACGT", np.uint8), (3000, 150))
        .view("S150")[:, 0]
        .tolist()
    )
)
GZIP = gzip.compress(LONG_FASTQ)
DICTIONARY = zstandard.train_dictionary(1000, LONG_FASTQ.splitlines(keepends=True))
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(LONG_FASTQ)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def zipped(*contents: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for content in contents:
            writer.writestr("reads.fa", content)
    return archive.getvalue()


def tarred(content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        member = tarfile.TarInfo("reads.fa")
        member.size = len(content)
        writer.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "noise": (NOISE, ": found binary data (bytes "),
    "noise that starts like fasta": (b">" + NOISE, ": found binary data (bytes "),
    "noise that starts like fastq": (b"@" + NOISE, ": found binary data (bytes "),
    "noise in gzip": (gzip.compress(NOISE), ": found binary data (bytes "),
    "noise after a gzip header": (GZIP[:10] + NOISE, ": found damaged data ("),
    "text": (b"Dear all,\nhere are the reads.\n", ": found content that starts with 'Dear all,'"),
    "a table": (b"id\tsequence\na\tACGT\n", ": found content that starts with 'id\\tsequence'"),
    "sam": (b"@HD\tVN:1.6\n", ": found SAM text"),
    "cram": (b"CRAM\x03\x00", ": found CRAM data"),
    "fast5": (b"\x89HDF\r\n\x1a\n", ": found HDF5 data (as FAST5)"),
    "pod5": (b"\x8bPOD\r\n\x1a\n", ": found POD5 data"),
    "sra": (b"NCBI.sra\x05\x03", ": found an SRA archive"),
    "zip": (zipped(b">a\nACGT\n"), ": found a zip archive"),
    "zip without files": (zipped(), ": found a zip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", ": found a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x00", ": found a rar archive"),
    "compress": (b"\x1f\x9d\x90\x3e", ": found data packed with compress (.Z)"),
    "lz4": (b"\x04\x22\x4d\x18\x64", ": found lz4 data"),
    "tar": (tarred(b">a\nACGT\n"), ": found a tar archive"),
    "tar in gzip": (gzip.compress(tarred(b">a\nACGT\n")), ": found a tar archive"),
    "tar in xz": (lzma.compress(tarred(b">a\nACGT\n")), ": found a tar archive"),
    "zip in zstd": (zstandard.compress(zipped(b">a\nACGT\n")), ": found a zip archive"),
    "UTF-16": (">a\nACGT\n".encode("utf-16"), ": found UTF-16 text; expected FASTA"),
    "a web page": (b"\n<!DOCTYPE html><html>", ": found a web page or XML"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", ": found a Git LFS pointer"),
    "GenBank": (b"LOCUS       NC_001422 5386 bp\n", ": found GenBank or EMBL text"),
    "gzip in gzip": (gzip.compress(GZIP), ": found data compressed twice"),
    "xz in gzip": (gzip.compress(lzma.compress(b">a\n")), ": found data compressed twice"),
    "cut bzip2": (bz2.compress(LONG_FASTQ)[:-9], ": found the end of the file inside its compressed data"),
    "cut xz": (lzma.compress(LONG_FASTQ)[:-9], ": found the end of the file inside its compressed data"),
    "damaged bzip2": (flipped(bz2.compress(LONG_FASTQ), 4000), ": found damaged data ("),
    "damaged xz": (flipped(lzma.compress(LONG_FASTQ), 4000), ": found damaged data ("),
    "cut in the second member": (GZIP + GZIP[:15], ": found the end of the file inside its compressed data"),
    "cut in the magic of the second member": (
        GZIP + GZIP[:1],
        ": found other content after the end of its compressed data, b'\\x1f' …; expected compressed data up to",
    ),
    "text after gzip": (
        GZIP + b"@a\nACGT\n+\nIIII\n",
        ": found other content after the end of its compressed data, b'@a\\nACGT\\n+\\nIIII\\n' …; expected",
    ),
    "text after xz": (
        lzma.compress(b"@a\nA\n+\nI\n") + b"\n@b",
        ": found other content after the end of its compressed data, b'@b' …",
    ),
    "zstd with a dictionary": (
        zstandard.ZstdCompressor(dict_data=DICTIONARY).compress(LONG_FASTQ),
        ": found zstd data that need a dictionary; expected data that unpack by themselves",
    ),
    "zstd with a window of 4 GiB": (
        b"\x28\xb5\x2f\xfd\x00\xb0\x09\x00\x00>",
        ": found zstd data with a window over 2 GiB; expected data that unpack by themselves",
    ),
    "cut gzip": (GZIP[: len(GZIP) // 2], ": found the end of the file inside its compressed data"),
    "gzip without its last bytes": (GZIP[:-4], ": found the end of the file inside its compressed data"),
    "gzip with another checksum": (
        flipped(GZIP, len(GZIP) - 8),
        ": found damaged data (Error -6 Incorrect checksum",
    ),
    "zstd with another checksum": (flipped(ZSTD, len(ZSTD) - 4), ": found damaged data ("),
    "cut zstd": (ZSTD[: len(ZSTD) // 2], ": found the end of the file inside its compressed data"),
    "zstd without its last byte": (ZSTD[:-1], ": found the end of the file inside its compressed data"),
    "zstd cut in its second frame": (
        ZSTD + ZSTD[:50],
        ": found the end of the file inside its compressed data",
    ),
    "protein": (
        b">a\nACGT\n>sp|P1|X some protein\nMKVH\nLAEG\n",
        ", record 2 (sp|P1|X), letter 5: found 'L'; expected nucleotide letters",
    ),
    "lower case protein": (b">a\nacgtf\n", ", record 1 (a), letter 5: found 'f'"),
    "blank in a sequence": (b">a\nACGT ACGT\n", ", record 1 (a), letter 5: found ' '"),
    "digit in a sequence": (b"@a\nAC1\n+\nIII\n", ", record 1 (a), letter 3: found '1'"),
    "letter beyond ASCII": (">a\nACé\n".encode(), ", record 1 (a), letter 3: found 'é'"),
    "fasta without an id": (b">a\nAC\n>\nAC\n", ", record 2: found a header without an id"),
    "fasta with a blank for an id": (b"> a\nAC\n", ", record 1: found a header without an id"),
    "fastq without an id": (b"@\nAC\n+\nII\n", ", record 1: found a header without an id"),
    "fastq with a blank for an id": (
        b"@a\nA\n+\nI\n@ b\nAC\n+\nII\n",
        ", record 2: found a header without an id",
    ),
    "control character in an id": (
        b">a\nAC\n>b\x01c\nAC\n",
        ", record 2: found a control character in the id 'b\\x01c'; expected an id of printable",
    ),
    "NUL in a late id": (
        b">a\n" + b"ACGT\n" * 60_000 + b">b\x00\nAC\n",
        ", record 2: found a control character in the id 'b\\x00'",
    ),
    "an id in Latin-1": (
        b">a\nAC\n>M\xfcller\nAC\n",
        ", record 2: found a byte that is no UTF-8 in the id 'M\\udcfcller'; expected an id of printable",
    ),
    "a fastq id in Latin-1": (
        b"@M\xfcller\nAC\n+\nII\n",
        ", record 1: found a byte that is no UTF-8 in the id 'M\\udcfcller'",
    ),
    "short quality": (
        b"@a\nA\n+\nI\n@b\nACGT\n+\nIII\n@c\nA\n+\nI\n",
        ", record at line 5: found a quality of 3 characters; expected 4, as long as the sequence",
    ),
    "short quality before a header that would fill it": (
        b"@a\nACGT\n+\nII\n@b\nACGT\n+\nIIII\n",
        ", record at line 1: found a quality of 2 characters; expected 4",
    ),
    "long quality": (b"@a\nA\n+\nI\n@b\nA\n+\nII\n", ", record at line 5: found a quality of 2 characters"),
    "a quality that is longer by what blanks the sequence has": (
        b"@a\nACGT \n+\nIIIII\n",
        ", record at line 1: found a quality of 5 characters; expected 4",
    ),
    "damaged fastq header": (
        b"@a\nA\n+\nI\nb\nA\n+\nI\n",
        ", line 5: found 'b'; expected a header that starts with '@'",
    ),
    "damaged separator": (
        b"@a\nA\n=\nI\n",
        ", line 3: found '='; expected nucleotide letters, or the line that starts with '+'",
    ),
    "no separator": (
        b"@a\nA\nI\n@b\nA\n+\nI\n",
        ", line 3: found 'I'; expected nucleotide letters, or the line",
    ),
    "fasta after fastq": (
        b"@a\nA\n+\nI\n>b\nACGT\n",
        ", line 5: found '>b'; expected a header that starts with '@'",
    ),
    "the end of a DOS file": (b"@a\nA\n+\nI\n\x1a", ", line 5: found '\\x1a'; expected a header"),
    "cut fastq": (
        LONG_FASTQ[:-200],
        ", record at line 11997: found the end of the file; expected sequence, '+'",
    ),
    "fastq cut in its quality": (
        LONG_FASTQ[:-20],
        ", record at line 11997: found a quality of 131 characters",
    ),
    "wrapped fastq with a short quality": (
        b"@a\nACG\nT\n+\nIII\nI\n@b\nACG\nT\n+\nIII\n",
        ", record at line 7: found the end of the file; expected sequence, '+' and quality",
    ),
    "wrapped fastq without a separator": (b"@a\nACG\nT\n", ", record at line 1: found the end of the file"),
    "wrapped fastq cut in a sequence": (
        b"@a\nACG\nT\n+\nIII\nI\n@b\nACG\n",
        ", record at line 7: found the end of the file",
    ),
    "wrapped fastq with a damaged header": (
        b"@a\nACG\nT\n+\nIIII\nb\nACG\nT\n+\nIIII\n",
        ", line 6: found 'b'; expected a header",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_content_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    content, message = WRONG_FILES[case]
    path = tmp_path / "reads"
    path.write_bytes(content)
    assert error_of(path)[: len(message)] == message


@pytest.mark.parametrize(
    ("name", "found"), [("none.fa", "no such file or directory"), (".", "is a directory")]
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, found: str) -> None:
    assert error_of(tmp_path / name).startswith(f": found {found}; expected a readable file")


def test_the_record_is_counted_through_the_batches_of_its_own_file(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.fa", tmp_path / "wrong.fa"
    right.write_bytes(b">a\nACGT\n>b\nACGT\n")
    wrong.write_bytes(b">a\nACGT\n>b\nACGT\n>c\nACGE\n")
    with pytest.raises(InputError, match=r"wrong\.fa, record 3 \(c\), letter 4: found 'E'"):
        list(read_batches([ReadFile(right), ReadFile(wrong)], batch_bases=4))


def test_reads_before_an_error_have_been_given(tmp_path: Path) -> None:
    path = tmp_path / "cut.fq.gz"
    path.write_bytes(GZIP[: len(GZIP) // 2])
    given = 0
    with pytest.raises(InputError):
        for batch in read_batches([ReadFile(path)], batch_bases=1500):
            given += len(batch.names)
    assert given > 0


def test_no_file_stays_open_after_an_error_or_an_early_stop(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.fa", tmp_path / "wrong.fa"
    right.write_bytes(b">a\nACGT\n>b\nACGT\n")
    wrong.write_bytes(b">a\nACGE\n")
    before = open_files()
    batches = read_batches([ReadFile(right)], batch_bases=4)
    next(batches)
    batches.close()
    error_of(wrong)
    assert open_files() == before
