"""FASTA in blocks of whole records: the same reads wherever a block ends and whatever is odd in it."""

import io
import random
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences import reads
from virnucpro_assets.sequences.fasta_blocks import record_blocks, regular_records
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches

FASTA = b">a one\nACGT\nNN\n>b\n>c\ttwo\nacg-*.\n\n>d \xc3\xa9\nA C\n>e\nG\n"


def blocks_of(content: bytes, size: int) -> list[bytes]:
    return list(record_blocks(io.BufferedReader(io.BytesIO(content)), size))


def records_in(path: Path) -> list[tuple[str, bytes]]:
    return [
        (name, batch.bases[place])
        for batch in read_batches([ReadFile(path)])
        for place, name in enumerate(batch.names)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64])
def test_blocks_are_cut_before_records_and_lose_nothing(size: int) -> None:
    blocks = blocks_of(FASTA, size)
    assert b"".join(blocks) == FASTA
    assert all(block.startswith(b">") for block in blocks)
    assert len(blocks) <= 5


def test_regular_records_are_taken_apart() -> None:
    found = regular_records(b">a one\nACGT\nNN\n>\n>b\xc3\xa9\n>  c\nacg-*.")
    assert found is not None
    names, bases = found
    assert names == ["a", "", "bé", ""]
    assert [bases[place] for place in range(4)] == [b"ACGTNN", b"", b"", b"acg-*."]


@pytest.mark.parametrize(
    "block",
    [b">a\nAC\n\n", b">a\r\nAC\r\n", b">a\nA C\n", b">a\n#\n", b">a\nAE\n", b"A\n>a\n", b">\xff\n", b""],
    ids=[
        "blank line",
        "carriage return",
        "blank",
        "comment",
        "no nucleotide",
        "no header",
        "no text",
        "empty",
    ],
)
def test_odd_blocks_are_left_to_the_other_parser(block: bytes) -> None:
    assert regular_records(block) is None


@pytest.mark.parametrize("size", [4, 9, 16, 4096])
def test_reads_do_not_depend_on_where_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    random_ = random.Random(size)
    lines = [
        f">r{i} x\n" + "\n".join("".join(random_.choices("ACGTn", k=7)) for _ in range(i % 4))
        for i in range(60)
    ]
    odd = ["", "# a comment", ">odd  two words", "ACG  ", "\tTT"]
    (tmp_path / "reads.fa").write_text("\n".join([*lines[:30], *odd, *lines[30:]]) + "\n")
    whole = records_in(tmp_path / "reads.fa")
    assert whole[30] == ("odd", b"ACGTT")
    monkeypatch.setattr(reads, "record_blocks", lambda stream: record_blocks(stream, size))
    assert records_in(tmp_path / "reads.fa") == whole


def test_an_error_names_its_record_in_the_file_and_not_in_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reads.fa").write_bytes(b">a\nACGT\n>b\nAC\n>c\nACE\n")
    monkeypatch.setattr(reads, "record_blocks", lambda stream: record_blocks(stream, 8))
    with pytest.raises(InputError, match=r"record 3 \(c\), letter 3: found 'E'"):
        records_in(tmp_path / "reads.fa")
