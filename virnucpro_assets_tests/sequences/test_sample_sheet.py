"""Sample sheets: samples, lanes and mates, and what is wrong with a sheet, by its line."""

import re
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.sample_sheet import read_sample_sheet


def sheet(folder: Path, text: str | bytes) -> Path:
    """A sheet in a folder."""
    path = folder / "samples.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def samples_in(folder: Path, text: str | bytes) -> dict[str, list[tuple[str, int]]]:
    """Paths below the folder and mates, by sample."""
    return {
        sample.name: [(str(file.path.relative_to(folder)), file.mate) for file in sample.files]
        for sample in read_sample_sheet(sheet(folder, text))
    }


def test_rows_of_one_sample_are_its_lanes_in_their_order(tmp_path: Path) -> None:
    text = "sample,fastq_1,fastq_2\ns1,l1/a_1.fq,l1/a_2.fq\ns2,b.fq,\ns1,l2/a_1.fq,l2/a_2.fq\n"
    assert samples_in(tmp_path, text) == {
        "s1": [("l1/a_1.fq", 1), ("l1/a_2.fq", 2), ("l2/a_1.fq", 1), ("l2/a_2.fq", 2)],
        "s2": [("b.fq", 0)],
    }
    assert [(one.name, one.line) for one in read_sample_sheet(tmp_path / "samples.csv")] == [
        ("s1", 2),
        ("s2", 3),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sample,fastq_1\ns,a.fq\n",
        "sample,fastq_1\r\ns,a.fq\r\n",
        "\ufeffsample,fastq_1,fastq_2\ns,a.fq,\n",
        "fastq_1,strandedness,sample\na.fq,auto,s",
        " sample ,fastq_1\n\n s , a.fq \n,\n",
        "sample,fastq_1\ns,./x/../a.fq\n",
    ],
)
def test_other_columns_blanks_and_line_ends_change_nothing(tmp_path: Path, text: str) -> None:
    assert samples_in(tmp_path, text) == {"s": [("a.fq", 0)]}


def test_paths_are_relative_to_the_sheet_and_may_lead_anywhere(tmp_path: Path) -> None:
    (one,) = read_sample_sheet(sheet(tmp_path, "sample,fastq_1,fastq_2\ns,/x/a.fq,../b.fq\n"))
    assert one.files == [ReadFile(Path("/x/a.fq"), 1), ReadFile(tmp_path.parent / "b.fq", 2)]


def test_a_header_alone_is_a_sheet_without_samples(tmp_path: Path) -> None:
    assert samples_in(tmp_path, "sample,fastq_1,fastq_2\n") == {}


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "no column sample and no column fastq_1"),
        ("[Header]\nIEMFileVersion,4\n", 1, "no column sample and no column fastq_1"),
        ("sample,path\ns,a.fq\n", 1, "no column fastq_1"),
        ("sample,fastq_1,fastq_1\n", 1, "column fastq_1 twice"),
        ("sample,fastq_1,fastq_2\ns,a.fq,\ns,b.fq\n", 3, "2 values; expected 3"),
        ("sample,fastq_1,fastq_2\ns,,b.fq\n", 2, "nothing in column fastq_1"),
        ("sample,fastq_1,fastq_2\n\n,a.fq,b.fq\n", 3, "nothing in column sample"),
        ("sample,fastq_1,fastq_2\ns,a.fq,b.fq\nt,c.fq,x/../b.fq\n", 3, "'x/../b.fq' as in line 2"),
        ("sample,fastq_1,fastq_2\ns,a.fq,a.fq\n", 2, "'a.fq' as in line 2"),
        ("sample,fastq_1\ns,s3://bucket/a.fq\n", 2, "the address 's3://bucket/a.fq'"),
        ("sample,fastq_1\ns,a\0.fq\n", 2, "a path with a NUL in it|no CSV"),
        ('sample,fastq_1\ns,"a.fq\n', 2, "no CSV (unexpected end of data)"),
        (b"sample,fastq_1\ns,\xff.fq\n", None, "bytes that are no UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str | bytes, line: int | None, found: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_sample_sheet(sheet(tmp_path, text))
    place = rf"line {line}" if line else r"line \d"
    choices = "|".join(re.escape(choice) for choice in found.split("|"))
    assert re.match(
        rf"{re.escape(str(tmp_path))}/samples\.csv, {place}: found ({choices})", str(caught.value)
    ), caught.value
    assert len(str(caught.value).splitlines()) == 1
