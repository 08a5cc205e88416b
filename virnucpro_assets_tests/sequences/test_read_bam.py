"""Reads of BAM files."""

import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
    assert re.match(rf"{path}: found (damaged |the end of the file inside its compressed )", message)
    assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("references", [1, 30_000], ids=["short header", "header of many blocks"])
@pytest.mark.parametrize("damage", ["size of the first block", "late in the header", "cut in the header"])
def test_damage_of_the_header_gives_the_exact_reads_or_one_line_and_no_trace(
    references: int, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # htslib's reader wrote a trace for these, because it closes such a file where no caller can catch the error.
    names = tuple(f"contig-with-a-name-of-{number:07d}" for number in range(references))
    path = bam(tmp_path / "a.bam", [("a", 0, "AACG")], references=names)
    content = bytearray(path.read_bytes())
    header = len(content) - 28 - 80
    if damage == "cut in the header":
        del content[header - 40 :]
    else:
        content[17 if damage == "size of the first block" else header - 60] ^= 1 << 6
    path.write_bytes(content)
    try:
        assert reads(path) == [("a", "AACG")]
    except InputError as error:
        assert re.fullmatch(rf"{path}: found .+; expected .+", str(error))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lzma.compress, bytes])
def test_bam_in_other_packing_than_blocks_is_read(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = bam(tmp_path / "u.bam", [("a", 4, "ACGT")])
    path.write_bytes(pack(gzip.decompress(path.read_bytes())))
    assert reads(path) == [("a", "ACGT")]


def test_a_line_end_behind_the_last_block_is_passed_over_and_a_second_file_is_refused(tmp_path: Path) -> None:
    path = bam(tmp_path / "u.bam", [("a", 4, "ACGT")])
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    assert reads(path) == [("a", "ACGT")]
    path.write_bytes(content * 2)
    with pytest.raises(
        InputError, match=rf"^{path}: found a second BAM file behind the end of the first; expected one"
    ):
        reads(path)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 150, 151, 40_000])
def test_every_read_is_the_one_that_pysam_reads(length: int, tmp_path: Path) -> None:
    random = np.random.default_rng(length)
    letters = np.frombuffer(b"ACMGRSVTWYHKDBN", np.uint8)
    records: list[Record] = [
        (f"{'n' * (number + 1)}", flag, random.choice(letters, length).tobytes().decode() or None)
        for number, flag in enumerate((0, 4, 16, 77, 141, 83, 163, 99, 147, 1024, 512, 1040))
    ]
    path = bam(tmp_path / "a.bam", records, references=("chr", "other"))
    with pysam.AlignmentFile(str(path), check_sq=False) as stream:
        expected = [
            (each.query_name, each.get_forward_sequence() or "") for each in stream.fetch(until_eof=True)
        ]
    assert [(name.split("/")[0], sequence) for name, sequence in reads(path)] == expected


@pytest.mark.parametrize(("position", "value"), [(-40, 1 << 30), (-40, 3), (0, 0)])
def test_a_record_that_cannot_be_is_refused(position: int, value: int, tmp_path: Path) -> None:
    path = bam(tmp_path / "u.bam", [("a", 4, "ACGT")])
    text = bytearray(gzip.decompress(path.read_bytes()))
    record = len(text) - (36 + 2 + 2 + 4)
    # Its size; or, 16 bytes behind that, its number of bases.
    start = record if position else record + 4 + 16
    text[start : start + 4] = (value or 500).to_bytes(4, "little")
    path.write_bytes(gzip.compress(text))
    with pytest.raises(
        InputError, match=rf"^{path}: found damaged BAM data \(.+\); expected a whole BAM file"
    ):
        reads(path)


def test_a_letter_that_is_no_nucleotide_is_refused(tmp_path: Path) -> None:
    # BAM has 16 codes; '=' is the only one that is no letter.
    path = bam(tmp_path / "u.bam", [("a", 4, "AC=T")])
    with pytest.raises(InputError, match=r"record 1 \(a\), letter 3: found '='"):
        reads(path)
