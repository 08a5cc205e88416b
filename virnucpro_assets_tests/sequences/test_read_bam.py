"""Reads of BAM files."""

import gzip
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest
import zstandard

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets_tests.sequences.reference import records_of

Record = tuple[str, int, str | None]


def bam(path: Path, records: list[Record], *, references: tuple[str, ...] = ()) -> Path:
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": name, "LN": 1000} for name in references]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as stream:
        for name, flag, sequence in records:
            record = pysam.AlignedSegment(stream.header)
            record.query_name, record.flag, record.query_sequence = name, flag, sequence
            if not flag & 4:
                record.reference_id, record.reference_start = 0, 10
                record.cigarstring = f"{len(sequence or '')}M"
            stream.write(record)
    return path


def reads(path: Path, mate: int = 0) -> list[tuple[str, str]]:
    return records_of(read_batches([ReadFile(path, mate)]))


def test_pairs_of_an_unaligned_file_become_mates(tmp_path: Path) -> None:
    path = bam(tmp_path / "u.bam", [("a", 77, "ACGT"), ("a", 141, "GGN"), ("s", 4, "T"), ("b/1", 77, "C")])
    assert reads(path) == [("a/1", "ACGT"), ("a/2", "GGN"), ("s", "T"), ("b/1", "C")]


def test_a_single_read_of_a_mate_file_gets_the_suffix_of_the_file(tmp_path: Path) -> None:
    assert reads(bam(tmp_path / "u.bam", [("a", 4, "ACGT")]), mate=2) == [("a/2", "ACGT")]


def test_a_sequence_that_is_not_stored_is_an_empty_read(tmp_path: Path) -> None:
    assert reads(bam(tmp_path / "u.bam", [("a", 4, None), ("b", 4, "AC")])) == [("a", ""), ("b", "AC")]


def test_a_file_without_records_is_empty(tmp_path: Path) -> None:
    assert reads(bam(tmp_path / "u.bam", [])) == []


def test_aligned_reads_come_once_and_as_sequenced(tmp_path: Path) -> None:
    records: list[Record] = [
        ("forward", 0, "AACG"), ("reverse", 16, "AACG"), ("forward", 256, "AACG"), ("forward", 2048, "AACG"),
    ]  # fmt: skip
    path = bam(tmp_path / "a.bam", records, references=("chr",))
    assert reads(path) == [("forward", "AACG"), ("reverse", "CGTT")]


def damaged(content: bytes, damage: str) -> bytes:
    middle = len(content) // 2
    return {
        "without its last block": content[:-28],
        "cut in a block": content[:middle],
        "cut, with a last block": content[:middle] + content[-28:],
        "changed in the middle": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
    }[damage]


@pytest.mark.parametrize(
    "damage", ["without its last block", "cut in a block", "cut, with a last block", "changed in the middle"]
)
def test_a_damaged_file_is_refused_in_one_line(
    damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = bam(tmp_path / "u.bam", [(f"read{number}", 4, "ACGTTGCA" * 9) for number in range(20_000)])
    path.write_bytes(damaged(path.read_bytes(), damage))
    with pytest.raises(InputError) as error:
        reads(path)
    message = str(error.value)
    assert message.startswith(f"{path}: found damaged BAM data (")
    assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lzma.compress])
def test_bam_in_other_packing_than_blocks_is_named(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = bam(tmp_path / "u.bam", [("a", 4, "ACGT")])
    path.write_bytes(pack(gzip.decompress(path.read_bytes())))
    with pytest.raises(
        InputError, match="found BAM data that are packed otherwise than in blocks; expected BAM in BGZF"
    ):
        reads(path)


def test_the_verbosity_of_htslib_is_as_before(tmp_path: Path) -> None:
    before = pysam.get_verbosity()
    reads(bam(tmp_path / "u.bam", [("a", 4, "ACGT")]))
    assert pysam.get_verbosity() == before


def test_a_letter_that_is_no_nucleotide_is_refused(tmp_path: Path) -> None:
    # BAM has 16 codes; '=' is the only one that is no letter.
    path = bam(tmp_path / "u.bam", [("a", 4, "AC=T")])
    with pytest.raises(InputError, match=r"record 1 \(a\), letter 3: found '='"):
        reads(path)


def test_pysam_is_imported_only_when_a_bam_file_comes() -> None:
    program = "import sys; import virnucpro_assets.sequences.reads; print('pysam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
