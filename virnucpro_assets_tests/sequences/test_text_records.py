"""FASTA in blocks of whole records: the same reads wherever a block ends and whatever is odd in it."""

import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences import reads
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.sequences.text_records import record_blocks, regular_records
from virnucpro_assets_tests.sequences.reference import records_of


def records_in(path: Path) -> list[tuple[str, str]]:
    return records_of(read_batches([ReadFile(path)]))


@given(
    st.lists(st.sampled_from([b">a one\n", b">b", b">\n", b"\n", b"ACGT\n", b"ac>g", b"-*.\r\n"])),
    st.integers(1, 40),
)
def test_blocks_are_cut_before_records_and_lose_nothing(lines: list[bytes], size: int) -> None:
    content = b">first\n" + b"".join(lines)
    blocks = list(record_blocks(io.BufferedReader(io.BytesIO(content)), size))
    assert b"".join(blocks) == content
    assert all(block.startswith(b">") for block in blocks)
    assert all(block.endswith(b"\n") for block in blocks[:-1])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b|c", "é x", "d\ttwo words", " e", "\t"]),
            st.lists(st.text("ACGTacgtn-*.", min_size=1)),
        )
    )
)
def test_regular_records_are_taken_apart(records: list[tuple[str, list[str]]]) -> None:
    found = regular_records(
        "".join("\n".join([f">{header}", *lines, ""]) for header, lines in records).encode()
    )
    assert (found is None) == (not records)
    names, bases = found or ([], Ragged.from_strings([]))
    assert names == [re.split(r"[ \t]", header)[0] for header, _ in records]
    assert [bases[place].decode() for place in range(len(bases))] == ["".join(lines) for _, lines in records]


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
    assert whole[30] == ("odd", "ACGTT")
    monkeypatch.setattr(reads, "record_blocks", lambda stream: record_blocks(stream, size))
    assert records_in(tmp_path / "reads.fa") == whole


def test_an_error_names_its_record_in_the_file_and_not_in_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reads.fa").write_bytes(b">a\nACGT\n>b\nAC\n>c\nACE\n")
    monkeypatch.setattr(reads, "record_blocks", lambda stream: record_blocks(stream, 8))
    with pytest.raises(InputError, match=r"record 3 \(c\), letter 3: found 'E'"):
        records_in(tmp_path / "reads.fa")
