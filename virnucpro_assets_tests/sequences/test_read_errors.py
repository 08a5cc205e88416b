"""Wrong input: each ends as one line that says where, what was found, what was expected, what to do."""

import gzip
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
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(LONG_FASTQ)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


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
    "bzip2": (b"BZh91AY&SY", ": found bzip2 data"),
    "xz": (b"\xfd7zXZ\x00", ": found xz data"),
    "zip": (b"PK\x03\x04\x14\x00", ": found a zip archive"),
    "gzip in gzip": (gzip.compress(GZIP), ": found data compressed twice"),
    "cut gzip": (GZIP[: len(GZIP) // 2], ": found the end of the file inside its compressed data"),
    "gzip without its last bytes": (GZIP[:-4], ": found the end of the file inside its compressed data"),
    "gzip with another checksum": (flipped(GZIP, len(GZIP) - 8), ": found damaged data (CRC check failed"),
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
    "short quality": (
        b"@a\nACGT\n+\nIII\n@b\nA\n+\nI\n",
        ", line 4: found Length of sequence and qualities differ",
    ),
    "long quality": (
        b"@a\nA\n+\nI\n@b\nA\n+\nII\n",
        ", line 8: found Length of sequence and qualities differ",
    ),
    "damaged fastq header": (b"@a\nA\n+\nI\nb\nA\n+\nI\n", ", line 5: found Line expected to start with '@'"),
    "damaged separator": (b"@a\nA\n=\nI\n", ", line 3: found Line expected to start with '+'"),
    "another separator name": (b"@a\nA\n+b\nI\n", ", line 3: found Sequence descriptions don't match"),
    "cut fastq": (LONG_FASTQ[:-200], ", line 11998: found Premature end of file encountered"),
    "latin-1 fasta": (b">a M\xfcller\nAC\n", ": found the byte 0xfc, which is no text"),
    "wrapped fastq with a short quality": (
        b"@a\nACG\nT\n+\nIII\nI\n@b\nACG\nT\n+\nIII\n",
        ", record at line 7: found a quality of 3 characters; expected 4",
    ),
    "wrapped fastq without a separator": (b"@a\nACG\nT\n", ", line 4: found Premature end"),
    "wrapped fastq cut in a sequence": (
        b"@a\nACG\nT\n+\nIII\nI\n@b\nACG\n",
        ", record at line 7: found a record without its '+' line",
    ),
    "wrapped fastq with a damaged header": (
        b"@a\nACG\nT\n+\nIIII\nb\nACG\nT\n+\nIIII\n",
        ", record at line 6: found 'b'; expected a header",
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
