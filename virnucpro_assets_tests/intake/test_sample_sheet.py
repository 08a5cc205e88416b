"""Sample sheets: samples, lanes and mates, and what is wrong with a sheet, by its line."""

import re
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.sample_sheet import is_sample_sheet, names_in, read_sample_sheet
from virnucpro_assets.sequences.read_files import ReadFile


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
    ("text", "files"),
    [
        ("sample;fastq_1;fastq_2\ns;a.fq;b.fq\n", [("a.fq", 1), ("b.fq", 2)]),
        ("sample\tfastq_1\ns\ta.fq\n", [("a.fq", 0)]),
        ("sep=;\r\nsample;fastq_1\r\ns;a.fq\r\n", [("a.fq", 0)]),
        ("sample,fastq_1\rs,a.fq\r", [("a.fq", 0)]),
        ("\n\nsample,fastq_1\ns,a.fq\n", [("a.fq", 0)]),
        ('"sample","fastq_1","fastq_2"\n"s","a.fq",""\n', [("a.fq", 0)]),
        ('sample,fastq_1,title\ns,"a, b.fq","liver; ""old"""\n', [("a, b.fq", 0)]),
        ("Sample,FASTQ_1\ns,a.fq\n", [("a.fq", 0)]),
        ("sample,fastq_1\ns,a.fq\n".encode("utf-16"), [("a.fq", 0)]),
        # nf-core/taxprofiler, with two runs and a file of contigs
        (
            "sample,run_accession,instrument_platform,fastq_1,fastq_2,fasta\n"
            "s,R1,ILLUMINA,a.fq,b.fq,\ns,R2,OXFORD_NANOPORE,c.fq,,\ns,R3,ILLUMINA,,,d.fa\n",
            [("a.fq", 1), ("b.fq", 2), ("c.fq", 0), ("d.fa", 0)],
        ),
        # nf-core/viralrecon and rnaseq
        ("sample,fastq_1,fastq_2,strandedness\ns,a.fq,b.fq,auto\n", [("a.fq", 1), ("b.fq", 2)]),
        # nf-core/mag
        (
            "sample,run,group,short_reads_1,short_reads_2,long_reads\ns,1,0,a.fq,b.fq,c.fq\n",
            [("a.fq", 1), ("b.fq", 2), ("c.fq", 0)],
        ),
        # nf-core/ampliseq
        ("sampleID\tforwardReads\treverseReads\trun\ns\ta.fq\tb.fq\t1\n", [("a.fq", 1), ("b.fq", 2)]),
        # fastq_list.csv of Illumina's DRAGEN
        ("RGID,RGSM,RGLB,Lane,Read1File,Read2File\nx,s,l,1,a.fq,b.fq\n", [("a.fq", 1), ("b.fq", 2)]),
        ("sample,fastq_1,fastq_2\ns,a.fq,b.fq\ns,a.fq,b.fq\n", [("a.fq", 1), ("b.fq", 2)]),
        ("sample,run,fastq_1\ns,1,a.fq\ns,2,x/../a.fq\n", None),
        ("sample,fastq_1\ns,a.interleaved.fq\n", [("a.interleaved.fq", 3)]),
    ],
)
def test_sheets_of_other_programs_are_read(
    tmp_path: Path, text: str | bytes, files: list[tuple[str, int]] | None
) -> None:
    assert is_sample_sheet(sheet(tmp_path, text))
    (sample,) = read_sample_sheet(tmp_path / "samples.csv")
    if files is None:
        assert str(sample.error).startswith(
            f"{tmp_path}/samples.csv, line 3: found 'x/../a.fq' as in line 2; "
        )
    else:
        assert (sample.name, sample.error) == ("s", None)
        assert samples_in(tmp_path, text) == {"s": files}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("s,,\nt,a.fq,\n", {"s": "line 2: found nothing in column fastq_1", "t": None}),
        ("s,a.fq\nt,b.fq,\n", {"s": "line 2: found 2 values; expected 3", "t": None}),
        ("s,s3://b/a.fq,\nt,b.fq,\n", {"s": "line 2: found the address 's3://b/a.fq'", "t": None}),
        (",a.fq,\nt,b.fq,\n", {"": "line 2: found nothing in column sample", "t": None}),
        ("s,a.fq,\ns,,b.fq\nt,c.fq,\n", {"s": "line 3: found nothing in column fastq_1", "t": None}),
        (
            "s,a.fq,\nt,a.fq,\nu,b.fq,\n",
            {"s": "line 2: found 'a.fq' as in line 3", "t": "line 3: found 'a.fq' as in line 2", "u": None},
        ),
    ],
)
def test_a_row_that_cannot_be_used_leaves_the_other_samples_alone(
    tmp_path: Path, text: str, wrong: dict[str, str | None]
) -> None:
    found = read_sample_sheet(sheet(tmp_path, f"sample,fastq_1,fastq_2\n{text}"))
    assert [one.name for one in found] == list(wrong)
    for one in found:
        place, expected = f"{tmp_path}/samples.csv, ", wrong[one.name]
        assert (one.error is None) == (expected is None)
        assert expected is None or str(one.error).startswith(place + expected)
        assert len(str(one.error).splitlines()) == 1


def test_the_files_of_a_sample_that_cannot_be_used_are_known(tmp_path: Path) -> None:
    text = "sample,fastq_1,fastq_2\ns,a.fq\n,b.fq,c.fq\ns,d.fq,\n"
    assert samples_in(tmp_path, text) == {"s": [("a.fq", 0), ("d.fq", 0)], "": [("b.fq", 1), ("c.fq", 2)]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("sample,fastq_1\n", True),
        ("fastq_1,fastq_2\na.fq,b.fq\n", True),
        ("sample;file\ns;a.fastq.gz\n", True),
        ("Sample,total_reads\ns_R1,100\n", False),
        ("lane,yield\n1,2\n", False),
        ("[Header]\nIEMFileVersion,4\n[Data]\nSample_ID,index\n", False),
        ("file,md5\na.fastq.gz,d41d8\n", False),
        ("sample,barcode\ns,1\n", False),
        (b"lane,\xffyield\n", False),
        ('lane,"yield\n', False),
    ],
)
def test_tables_of_other_things_are_no_sample_sheets(
    tmp_path: Path, text: str | bytes, expected: bool
) -> None:
    assert is_sample_sheet(sheet(tmp_path, text)) is expected


def test_the_names_that_a_broken_sheet_may_speak_of_are_found(tmp_path: Path) -> None:
    names = names_in(sheet(tmp_path, b'sample;fastq_1\ns;"run/a b.fq\nt;C:\\x\\c.fq\n\xff;d.fq'))
    assert {"a b.fq", "c.fq", "d.fq"} <= names


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
        ("sample,fastq_1,fastq_2\ns,a.fq,b.fq\nt,c.fq,x/../b.fq\n", 2, "'x/../b.fq' as in line 3"),
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
        for sample in read_sample_sheet(sheet(tmp_path, text)):
            if sample.error:
                raise sample.error
    place = rf"line {line}" if line else r"line \d"
    choices = "|".join(re.escape(choice) for choice in found.split("|"))
    assert re.match(
        rf"{re.escape(str(tmp_path))}/samples\.csv, {place}: found ({choices})", str(caught.value)
    ), caught.value
    assert len(str(caught.value).splitlines()) == 1
