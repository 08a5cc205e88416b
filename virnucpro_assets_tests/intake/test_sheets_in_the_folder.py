"""Sample sheets in the drops folder: which drops they make, and what they hold back."""

import tempfile
from pathlib import Path

import pytest

from virnucpro_assets_tests.arriving import READS, Arrivals, without_rights


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.under(tmp_path)


def test_each_sample_of_a_sheet_becomes_a_drop_of_its_lanes(arrivals: Arrivals) -> None:
    for name in ("run/l1_1.fq", "run/l1_2.fq", "run/l2_1.fq", "run/l2_2.fq", "single.fq"):
        arrivals.write(name, f"@{name}\nACGT\n+\nIIII\n")
    arrivals.write(
        "run.csv",
        "sample,fastq_1,fastq_2\np,run/l1_1.fq,run/l1_2.fq\nq,single.fq,\np,run/l2_1.fq,run/l2_2.fq\n",
    )
    assert arrivals.states() == {
        "run.csv": "settling",
        "run.csv, line 2: p": "settling",
        "run.csv, line 3: q": "settling",
    }
    assert [one.key for one in arrivals.take(arrivals.wait(3))] == ["p", "q"]
    assert arrivals.names_of("p") == [("l1_1.fq", 1), ("l1_2.fq", 2), ("l2_1.fq", 1), ("l2_2.fq", 2)]
    assert arrivals.names_of("q") == [("single.fq", 0)]
    assert set(arrivals.states().values()) == {"known"}
    assert arrivals.store.keys() == ["p", "q"]


def test_a_sheet_may_lie_in_the_folder_of_its_files(arrivals: Arrivals) -> None:
    arrivals.write("run/a.fq")
    arrivals.write("run/undetermined.fq")
    arrivals.write("run/sheet.csv", "sample,fastq_1,fastq_2\ns,a.fq,\n")
    found = {one.name: one for one in arrivals.wait().deliveries}
    assert {name: one.state for name, one in found.items()} == {
        "run/": "refused",
        "run/sheet.csv": "known",
        "run/sheet.csv, line 2: s": "ready",
    }
    assert found["run/"].reason == "files that no sample sheet names: 1, undetermined.fq first"


def test_a_sheet_waits_for_its_files_and_its_samples_for_the_sheet(arrivals: Arrivals) -> None:
    arrivals.write("a.fq")
    arrivals.write("s.csv", "sample,fastq_1,fastq_2\na,a.fq,\n")
    arrivals.wait(3)
    sheet = arrivals.write("s.csv", "sample,fastq_1,fastq_2\na,a.fq,\nb,b_1.fq,b_2.fq\n")
    found = {one.key: one.reason for one in arrivals.scan().deliveries}
    assert (found["a"], found["b"]) == ("a sample sheet that settles", "no file b_1.fq yet")
    arrivals.write("b_1.fq")
    arrivals.write("b_2.fq")
    arrivals.write("b_2.fq.aria2")
    assert [one.key for one in arrivals.wait(3).of("ready")] == ["a"]
    (arrivals.drops / "b_2.fq.aria2").unlink()
    assert [one.key for one in arrivals.wait().of("ready")] == ["a", "b"]
    assert sheet.exists()


def test_a_changed_sheet_changes_the_samples_whose_files_it_changes(arrivals: Arrivals) -> None:
    for name in "abc":
        arrivals.write(f"{name}.fq", f"@{name}\nACGT\n+\nIIII\n")
    arrivals.write("s.csv", "sample,fastq_1\nx,a.fq\ny,b.fq\n")
    arrivals.take(arrivals.wait())
    assert set(arrivals.states().values()) == {"known"}
    arrivals.write("s.csv", "sample,fastq_1\nx,a.fq\ny,b.fq\ny,c.fq\n")
    assert [(one.key, one.state) for one in arrivals.take(arrivals.wait())] == [("y", "changed")]
    assert arrivals.names_of("y") == [("b.fq", 0), ("c.fq", 0)]


def test_the_marker_of_a_sheet_speaks_for_its_samples(arrivals: Arrivals) -> None:
    arrivals.write("a.fq")
    arrivals.write("s.csv", "sample,fastq_1\nx,a.fq\n")
    arrivals.write("s.csv.READY", b"")
    assert arrivals.states() == {"s.csv": "known", "s.csv, line 2: x": "ready"}


def test_a_sheet_leads_out_of_the_drops_folder_only_if_the_settings_say_so(arrivals: Arrivals) -> None:
    outside = arrivals.root / "outside.fq"
    outside.write_text(READS)
    (arrivals.drops / "link.fq").symlink_to(outside)
    rows = f"x,{outside}\ny,../outside.fq\nz,../drops/in.fq\nw,link.fq\n"
    arrivals.write("in.fq")
    arrivals.write("s.csv", "sample,fastq_1\n" + rows.replace("y,../outside.fq\n", ""))
    found = {one.key: (one.state, one.reason) for one in arrivals.wait().deliveries if one.key}
    assert found == {
        "x": ("refused", "outside.fq, which lies outside the drops folder"),
        "z": ("ready", ""),
        "w": ("refused", "link.fq, which lies outside the drops folder"),
    }
    arrivals.settings = arrivals.settings.model_copy(update={"allow_external_sample_paths": True})
    assert {one.key for one in arrivals.wait().of("ready")} == {"x", "w", "z"}


CORRECT = "Correct the sheet; its columns are sample,fastq_1,fastq_2."


def test_a_sheet_of_taxprofiler_gives_the_samples_that_can_be_used(arrivals: Arrivals) -> None:
    for name in ("un_R1.fq", "un_R2.fq", "one.fq"):
        arrivals.write(name, "@r\nACGT\n+\nIIII\n")
    arrivals.write(
        "sheet.csv",
        "sample,run_accession,instrument_platform,fastq_1,fastq_2,fasta\n"
        "liver,R1,ILLUMINA,un_R1.fq,un_R2.fq,\nnano,R2,OXFORD_NANOPORE,one.fq,,\ncontigs,R3,ILLUMINA,,,x.fa\n",
    )
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {
        "sheet.csv": ("known", ""),
        "sheet.csv, line 2: liver": ("ready", ""),
        "sheet.csv, line 3: nano": ("ready", ""),
        "sheet.csv, line 4: contigs": ("settling", "no file x.fa yet"),
    }


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ("x,\ny,a.fq\n", {"s.csv, line 2: x": "line 2: found nothing in column fastq_1; expected a value. "}),
        (
            ",b.fq\ny,a.fq\n",
            {"s.csv, line 2: ": "line 2: found nothing in column sample; expected a value. "},
        ),
        ("x,b.fq,c\ny,a.fq\n", {"s.csv, line 2: x": "line 2: found 3 values; expected 2. "}),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_and_its_files_are_no_deliveries(
    arrivals: Arrivals, rows: str, refused: dict[str, str]
) -> None:
    for name in ("a.fq", "b.fq"):
        arrivals.write(name)
    arrivals.write("s.csv", f"sample,fastq_1\n{rows}")
    if "b.fq" not in rows:
        (arrivals.drops / "b.fq").unlink()
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {
        "s.csv": ("known", ""),
        "s.csv, line 3: y": ("ready", ""),
        **{name: ("refused", reason + CORRECT) for name, reason in refused.items()},
    }


@pytest.mark.parametrize(
    ("sheet", "reason"),
    [
        (
            b"name,fastq_1\nx,a.fq\n",
            "line 1: found no column sample; expected the header of a sample sheet. ",
        ),
        (
            b"sample,reads\nx,a.fq\n",
            "line 1: found no column fastq_1; expected the header of a sample sheet. ",
        ),
        (
            b'sample,fastq_1\nx,"a.fq\n',
            "line 2: found no CSV (unexpected end of data); expected values between commas. ",
        ),
        (
            b"sample,fastq_1\nx\xff,run/a.fq\n",
            "line 2: found bytes that are no UTF-8; expected text in UTF-8. ",
        ),
        (
            b"sample,fastq_1,fastq_1\nx,a.fq,\n",
            "line 1: found column fastq_1 twice; expected each column once. ",
        ),
    ],
)
@pytest.mark.parametrize("place", ["a.fq", "run/a.fq"])
def test_a_sheet_that_cannot_be_used_holds_its_files_back(
    arrivals: Arrivals, sheet: bytes, reason: str, place: str
) -> None:
    arrivals.write(place)
    arrivals.write("other.fq")
    arrivals.write("s.csv", sheet)
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {"s.csv": ("refused", reason + CORRECT), "other.fq": ("ready", "")}


def test_a_table_that_is_no_sample_sheet_is_left_aside(arrivals: Arrivals) -> None:
    arrivals.write("d/metrics.csv", "lane,yield\n1,2\n")
    arrivals.write("d/SampleSheet.csv", "[Header]\nIEMFileVersion,4\n")
    arrivals.write("d/a.fa")
    arrivals.write("stats.tsv", "lane\tyield\n1\t2\n")
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {
        "d/": ("ready", ""),
        "d/SampleSheet.csv, metrics.csv": ("aside", "left aside, for there are no reads of a sample in it"),
        "stats.tsv": ("aside", "left aside, for there are no reads of a sample in it"),
    }
    assert [file.path.name for file in arrivals.scan().of("ready")[0].files] == ["a.fa"]


def test_a_sheet_that_cannot_be_read_holds_back_what_lies_beside_it() -> None:
    with tempfile.TemporaryDirectory(prefix="drops-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        arrivals = Arrivals.under(root)
        arrivals.write("a.fq")
        arrivals.write("d/a.fq")
        arrivals.write("s.csv", "sample,fastq_1\nx,a.fq\n").chmod(0)
        with without_rights():
            found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
        assert found == {
            "d/": ("ready", ""),
            "s.csv": ("refused", "a file that cannot be read (Permission denied)"),
        }
