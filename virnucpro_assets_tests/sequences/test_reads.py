"""Reading files: right ones in every dress, odd but right ones, batches and memory."""

import bz2
import gzip
import lzma
import subprocess
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
import zstandard

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import INTERLEAVED, ReadFile, pair_files
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets_tests.sequences.reference import records_of
from virnucpro_assets_tests.unaligned_bam import unaligned_bam

Read = tuple[str, str]


def read(content: bytes, folder: Path, **options: int) -> list[Read]:
    path = folder / "reads"
    path.write_bytes(content)
    return records_of(read_batches([ReadFile(path)], **options))


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def long_window(content: bytes) -> bytes:
    """A frame for `zstd -d --long=28`, made by hand: magic, no flags, a window of 256 MiB, one raw block."""
    return b"\x28\xb5\x2f\xfd\x00\x90" + (len(content) << 3 | 1).to_bytes(3, "little") + content


def bgzf(content: bytes, folder: Path) -> bytes:
    path = folder / "packed"
    with pysam.BGZFile(str(path), "wb") as stream:
        stream.write(content)
    return path.read_bytes()


FASTQ = b"@a x\nACGT\n+\nIIII\n@b\tx\nNNacg\n+\n@+III\n"
FASTA = b">a x\nAC\nGT\n>b\tx\nNNacg\n"
READS = [("a", "ACGT"), ("b", "NNacg")]


@pytest.mark.parametrize("content", [FASTQ, FASTA], ids=["fastq", "fasta"])
@pytest.mark.parametrize(
    "packed",
    [
        lambda content, _: content,
        lambda content, _: gzip.compress(content),
        lambda content, _: gzip.compress(content[:20]) + gzip.compress(content[20:]),
        lambda content, _: gzip.compress(content) + bytes(64),
        lambda content, _: zstd(content),
        lambda content, _: zstd(content[:20]) + zstd(content[20:]),
        lambda content, _: b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstd(content),
        bgzf,
        lambda content, folder: bgzf(content, folder) + b"\n",
        lambda content, _: gzip.compress(content) + b"\r\n \n",
        lambda content, _: gzip.compress(content[:20]) + b"\n" + gzip.compress(content[20:]) + b"\n",
        lambda content, _: zstd(content) + b"\n",
        lambda content, _: long_window(content),
        lambda content, _: gzip.compress(content[:20]) + zstd(content[20:]),
        lambda content, _: bz2.compress(content),
        lambda content, _: bz2.compress(content[:20]) + bz2.compress(b"") + bz2.compress(content[20:]) + b"\n",
        lambda content, _: lzma.compress(content),
        lambda content, _: lzma.compress(content[:20]) + bytes(8) + lzma.compress(content[20:]),
        lambda content, _: lzma.compress(content, lzma.FORMAT_ALONE),
    ],
    ids=[
        "plain", "gzip", "members", "padded", "zstd", "frames", "skippable", "bgzf",
        "bgzf and a line end", "gzip and blank space", "line ends between members", "zstd and a line end",
        "zstd with a long window", "gzip and zstd", "bzip2", "bzip2 streams", "xz", "padded xz streams", "lzma",
    ],
)  # fmt: skip
def test_compression_is_known_by_content(
    content: bytes, packed: Callable[[bytes, Path], bytes], tmp_path: Path
) -> None:
    assert read(packed(content, tmp_path), tmp_path) == READS


ODD_FILES: dict[str, tuple[bytes, list[Read]]] = {
    "empty": (b"", []),
    "empty gzip": (gzip.compress(b""), []),
    "empty zstd": (zstd(b""), []),
    "blank lines": (b"\n\r\n", []),
    "fasta with CRLF": (FASTA.replace(b"\n", b"\r\n"), READS),
    "fastq with CRLF": (FASTQ.replace(b"\n", b"\r\n"), READS),
    "fasta without a last newline": (FASTA[:-1], READS),
    "fastq without a last newline": (FASTQ[:-1], READS),
    "fasta with blank lines": (b"\n>a\n\nAC\n\n>b\nA\n\n", [("a", "AC"), ("b", "A")]),
    "fastq with blank lines at its end": (FASTQ + b"\n\n", READS),
    "fastq with CRLF blank lines at its end": ((FASTQ + b"\n").replace(b"\n", b"\r\n"), READS),
    "empty fasta records": (b">a\n>b\n\n>c\nA\n>d", [("a", ""), ("b", ""), ("c", "A"), ("d", "")]),
    "empty fastq records": (b"@a\n\n+\n\n@b\nA\n+\nI\n@c\n\n+\n\n", [("a", ""), ("b", "A"), ("c", "")]),
    "only N": (b">a\nNNNN\n>b\nnnnnn\n", [("a", "NNNN"), ("b", "nnnnn")]),
    "one to five bases": (
        b">a\nA\n>b\nAC\n>c\nACG\n>d\nACGT\n>e\nACGTA\n",
        [("a", "A"), ("b", "AC"), ("c", "ACG"), ("d", "ACGT"), ("e", "ACGTA")],
    ),
    "all letters": (
        b">a\nACGTUNRYSWKMBDHVX-.*\nacgtunryswkmbdhvx\n",
        [("a", "ACGTUNRYSWKMBDHVX-.*acgtunryswkmbdhvx")],
    ),
    "repeated headers": (b"@a x\nAC\n+a x\nII\n", [("a", "AC")]),
    "repeated names": (b">a\nA\n>a\nC\n", [("a", "A"), ("a", "C")]),
    "a description in UTF-8": (">a Müller\nAC\n".encode(), [("a", "AC")]),
    "a description in Latin-1": (b">a M\xfcller\nAC\n>b\nG\n", [("a", "AC"), ("b", "G")]),
    "a fastq description in UTF-8": ("@a Müller\nAC\n+\nII\n".encode(), [("a", "AC")]),
    "a fastq description in Latin-1": (b"@a M\xfcller\nAC\n+\nII\n", [("a", "AC")]),
    "a fastq id in UTF-8": ("@é x\nAC\n+\nII\n".encode(), [("é", "AC")]),
    "wrapped fastq in UTF-8": ("@a Müller\nAC\nGT\n+\nII\nII\n".encode(), [("a", "ACGT")]),
    "another name after the plus": (b"@a/1\nAC\n+file a length=2\nII\n" + FASTQ, [("a/1", "AC"), *READS]),
    "fastq with a byte-order mark": (BOM_UTF8 + FASTQ, READS),
    "fasta with a byte-order mark": (BOM_UTF8 + FASTA, READS),
    "wrapped fastq with a byte-order mark": (BOM_UTF8 + b"@a\nA\nC\n+\nI\nI\n", [("a", "AC")]),
    "gzipped fasta with a byte-order mark": (gzip.compress(BOM_UTF8 + FASTA), READS),
    "a byte-order mark alone": (BOM_UTF8, []),
    "fastq of an old Mac": (FASTQ.replace(b"\n", b"\r"), READS),
    "fastq of an old Mac in gzip": (gzip.compress(FASTQ.replace(b"\n", b"\r")), READS),
    "fasta of an old Mac": (FASTA.replace(b"\n", b"\r"), READS),
    "line ends CR CR LF": (FASTQ.replace(b"\n", b"\r\r\n"), READS),
    "line ends that change": (FASTQ + FASTQ.replace(b"\n", b"\r\n"), READS * 2),
    "fastq with a leading blank line": (b"\n" + FASTQ, READS),
    "fastq with leading blank lines": (b"\n \n\r\n" + FASTQ, READS),
    "fastq with more blank lines than a head": (b"\n" * 600_000 + FASTQ, READS),
    "fasta with more blank lines than a head": (b"\n" * 600_000 + FASTA, READS),
    "fastq with blank lines between records": (FASTQ + b"\n\n" + FASTQ, READS * 2),
    "wrapped fastq with leading blank lines": (b"\n\n@a\nA\nC\n+\nI\nI\n", [("a", "AC")]),
    "fastq with blanks at the line ends": (FASTQ.replace(b"\n", b" \t\n"), READS),
    "fastq with blanks after the sequences only": (b"@a\nACGT  \n+\nIIII\n", [("a", "ACGT")]),
    "fastq with blanks after a late sequence": (
        FASTQ * 40_000 + b"@c\nACGT \n+\nIIII \n",
        [*READS * 40_000, ("c", "ACGT")],
    ),
    "fastq that ends with blanks": (FASTQ + b"  \n", READS),
    "fasta with blanks at the line ends": (FASTA.replace(b"\n", b" \t\n"), READS),
    "wrapped fastq": (
        b"@a x\nACG\nTAC\nG\n+\n@II\n+II\nI\n@b\nAC\n+\nII\n",
        [("a", "ACGTACG"), ("b", "AC")],
    ),
    "wrapped fastq after short records": (
        b"@a\nACG\n+\nIII\n@b\r\n\r\n+\r\n\r\n@c\nACG\nT\n+c\nIIII\n",
        [("a", "ACG"), ("b", ""), ("c", "ACGT")],
    ),
}


@pytest.mark.parametrize("case", ODD_FILES)
def test_odd_files_are_read_right(case: str, tmp_path: Path) -> None:
    content, expected = ODD_FILES[case]
    assert read(content, tmp_path) == expected


def test_batches_keep_within_the_bases_and_count_through_the_files(tmp_path: Path) -> None:
    first, empty, second = tmp_path / "1.fa", tmp_path / "2.fa", tmp_path / "3.fq"
    first.write_bytes(b">a\nACGT\n>b\nACG\n>c\nACGTACGTACGTACGT\n>d\nA\n>e\n\n>f\nACG\n")
    empty.write_bytes(b"")
    second.write_bytes(b"@g\nA\n+\nI\n")
    batches = list(read_batches([ReadFile(path) for path in (first, empty, second)], batch_bases=7))
    assert [(batch.first, batch.names, batch.bases.offsets.tolist()) for batch in batches] == [
        (0, ["a", "b"], [0, 4, 7]),
        (2, ["c"], [0, 16]),
        (3, ["d", "e", "f"], [0, 1, 1, 4]),
        (6, ["g"], [0, 1]),
    ]
    assert {batch.bases.data.dtype for batch in batches} == {np.dtype(np.uint8)}


def test_empty_reads_do_not_make_a_batch_without_end(tmp_path: Path) -> None:
    path = tmp_path / "reads.fa"
    path.write_bytes(b">a\n" * 70_000)
    assert [len(batch.names) for batch in read_batches([ReadFile(path)])] == [65_536, 4_464]


def test_a_contig_of_five_million_bases_is_a_batch_of_its_own(tmp_path: Path) -> None:
    contig = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), 5_000_000)
    lines = b"\n".join(line.tobytes() for line in contig.reshape(-1, 80))
    path = tmp_path / "contigs.fa.gz"
    path.write_bytes(gzip.compress(b">small\nACGT\n>large\n" + lines + b"\n>next\nAC\n", 1))
    batches = list(read_batches([ReadFile(path)]))
    assert [batch.names for batch in batches] == [["small"], ["large"], ["next"]]
    assert np.array_equal(batches[1].bases.data, contig)


def test_a_pair_of_files_gives_mates_file_after_file(tmp_path: Path) -> None:
    paths = [tmp_path / "s_R1.fq", tmp_path / "s_R2.fq"]
    paths[0].write_bytes(b"@a 1:N:0\nAC\n+\nII\n@b/1\nA\n+\nI\n")
    paths[1].write_bytes(b"@a 2:N:0\nGT\n+\nII\n@b/2\nT\n+\nI\n")
    assert records_of(read_batches(pair_files(paths))) == [
        ("a/1", "AC"), ("b/1", "A"), ("a/2", "GT"), ("b/2", "T"),
    ]  # fmt: skip


INTERLEAVED_FASTQ = b"@a 1:N:0\nAC\n+\nII\n@a 2:N:0\nGT\n+\nII\n@b/1\nA\n+\nI\n@b/2\nT\n+\nI\n"
INTERLEAVED_NAMES = ["a/1", "a/2", "b/1", "b/2"]


@pytest.mark.parametrize("batch_bases", [1, 3, 4_000_000])
def test_an_interleaved_file_gives_mates_in_turn_however_it_is_cut(tmp_path: Path, batch_bases: int) -> None:
    fastq, fasta, bam = tmp_path / "s.fq", tmp_path / "s.fa", tmp_path / "s.bam"
    fastq.write_bytes(INTERLEAVED_FASTQ)
    fasta.write_bytes(b">a\nAC\n>a\nGT\n>b\nA\n>b\nT\n")
    bam.write_bytes(unaligned_bam({"a": ("AC", "GT"), "b": ("A", "T")}))
    for path in (fastq, fasta, bam):
        batches = read_batches([ReadFile(path, INTERLEAVED)], batch_bases=batch_bases)
        assert [name for batch in batches for name in batch.names] == INTERLEAVED_NAMES


@pytest.mark.parametrize(
    ("names", "where", "found"),
    [
        ("aabc", "record 4", "the read 'c' after 'b'"),
        ("abab", "record 2", "the read 'b' after 'a'"),
        ("aab", "record 3", "the last record, without a mate"),
    ],
)
@pytest.mark.parametrize("batch_bases", [1, 4_000_000])
def test_a_read_without_its_mate_in_an_interleaved_file_is_named(
    tmp_path: Path, names: str, where: str, found: str, batch_bases: int
) -> None:
    path = tmp_path / "s.fa"
    path.write_text("".join(f">{name}\nACGT\n" for name in names))
    with pytest.raises(InputError) as caught:
        list(read_batches([ReadFile(path, INTERLEAVED)], batch_bases=batch_bases))
    assert str(caught.value) == (
        f"{path}, {where}: found {found}; expected alternating mates, as in an interleaved file. Repair the file (for "
        "example with BBTools' repair.sh); or leave out --interleaved, and the word `interleaved` in the file's name."
    )


def test_a_single_contig_of_fasta_is_read_from_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "my reads"
    folder.mkdir()
    assert read(b">a\nACGT\n", folder) == [("a", "ACGT")]


MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
count = sum(len(batch.names) for batch in read_batches([ReadFile(Path(sys.argv[1]))]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    sequence = b"ACGTACGTAC" * 15
    member = gzip.compress(
        b"".join(b"@read:%d\n%b\n+\n%b\n" % (number, sequence, b"I" * 150) for number in range(150_000)), 1
    )
    peaks = []
    for times in (1, 2):
        path = tmp_path / f"{times}.fq.gz"
        path.write_bytes(member * times)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY_PROGRAM, str(path)], capture_output=True, text=True, check=True
        )
        count, kilobytes = map(int, done.stdout.split())
        assert count == 150_000 * times
        peaks.append(kilobytes)
    # A file in memory would add 50 MB.
    assert peaks[1] - peaks[0] < 8_000
