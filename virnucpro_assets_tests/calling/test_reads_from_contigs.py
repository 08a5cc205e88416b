import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.calling.reads_from_contigs import (
    FILE,
    Alignment,
    ContigCall,
    MappingRules,
    call_of_read,
    read_contig_calls,
    write_calls_of_reads,
)
from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.conftest import Installation

CALLS = {
    "phage": ContigCall("Viral", "high_confidence"),
    "prophage": ContigCall("Viral", "low_confidence"),
    "phage2": ContigCall("Viral", "high_confidence"),
    "coli": ContigCall("Non-viral", "high_confidence"),
}


def aligned(contig: str, matches: int = 98, columns: int = 100, start: int = 0, stop: int = 100) -> Alignment:
    return Alignment(contig, 100, start, stop, matches, columns)


@pytest.mark.parametrize(
    ("alignments", "rules", "contig", "call", "reason"),
    [
        ([], MappingRules(), None, None, "unmapped"),
        ([aligned("phage")], MappingRules(), "phage", "Viral", None),
        ([aligned("coli", 97), aligned("phage", 98)], MappingRules(), "phage", "Viral", None),
        ([aligned("phage", 94)], MappingRules(), "phage", None, "low_identity"),
        ([aligned("phage", 94)], MappingRules(min_identity=0.94), "phage", "Viral", None),
        ([aligned("phage", 74, 74, 0, 74)], MappingRules(), "phage", None, "low_aligned_share"),
        ([aligned("phage", 74, 74, 0, 74)], MappingRules(min_aligned_share=0.74), "phage", "Viral", None),
        # One alignment is too short and one too unlike: what is like enough decides the reason.
        (
            [aligned("coli", 70, 70, 0, 70), aligned("phage", 90)],
            MappingRules(),
            "coli",
            None,
            "low_aligned_share",
        ),
        # More matches, but too many errors: the next best counts.
        ([aligned("coli", 99, 110), aligned("phage", 96)], MappingRules(), "phage", "Viral", None),
        ([aligned("phage"), aligned("coli")], MappingRules(), "coli", None, "tie"),
        ([aligned("phage"), aligned("phage2")], MappingRules(), "phage", "Viral", None),
        # The same call with another tier is not the same.
        ([aligned("phage"), aligned("prophage")], MappingRules(), "phage", None, "tie"),
        ([aligned("phage"), aligned("coli")], MappingRules(ties="first"), "coli", "Non-viral", None),
        ([aligned("phage"), aligned("phage2")], MappingRules(ties="none"), "phage", None, "tie"),
        # Twice on one contig is no tie.
        ([aligned("phage"), aligned("phage")], MappingRules(ties="none"), "phage", "Viral", None),
        ([aligned("unknown")], MappingRules(), "unknown", None, "contig_not_called"),
        ([aligned("unknown"), aligned("phage")], MappingRules(), "phage", None, "tie"),
    ],
)
def test_a_read_gets_the_call_of_its_best_contig_whatever_the_order_of_its_alignments(
    alignments, rules, contig, call, reason
) -> None:
    for order in (alignments, alignments[::-1]):
        found = call_of_read(order, CALLS, rules)
        assert (found.best and found.best.contig, found.call and found.call.call, found.reason) == (
            contig,
            call,
            reason,
        )


def write_calls(folder: Path) -> Path:
    path = folder / "contig_calls.tsv"
    lines = [f"{name}\t{one.call}\t{one.tier}\t0.5" for name, one in CALLS.items()]
    path.write_text("\n".join(["ID\tcall\ttier\tweighted_delta", *lines]) + "\n")
    return path


def paf_line(read: str, contig: str, matches: int = 99) -> str:
    return "\t".join(
        (read, "100", "0", "100", "+", contig, "5000", "7", "107", str(matches), "100", "60", "tp:A:P")
    )


UNMAPPED = "lost\t100\t0\t0\t*\t*\t0\t0\t0\t0\t0\t0"
LINES = [
    paf_line("b", "coli"),
    paf_line("a", "phage"),
    UNMAPPED,
    paf_line("b", "phage", 98),
    paf_line("a", "coli", 97),
]
TABLE = """\
ID\tcall\ttier\tcontig\tidentity\taligned_share\tcontigs\treason
a\tViral\thigh_confidence\tphage\t0.9900\t1.0000\t1\t
b\tNon-viral\thigh_confidence\tcoli\t0.9900\t1.0000\t1\t
lost\t\t\t\t\t\t0\tunmapped
"""


@pytest.mark.parametrize("lines", [LINES, sorted(LINES), LINES[::-1]])
@pytest.mark.parametrize("packed", [False, True])
def test_the_table_is_the_same_for_sorted_and_unsorted_and_packed_paf(
    tmp_path: Path, lines: list[str], packed: bool
) -> None:
    text = ("\n".join(lines) + "\n").encode()
    paf = tmp_path / "reads.paf"
    paf.write_bytes(gzip.compress(text) if packed else text)
    summary = write_calls_of_reads(paf, write_calls(tmp_path), tmp_path / "out", MappingRules())
    assert (tmp_path / "out" / FILE).read_text() == TABLE
    assert summary.calls == {"Viral": 1, "Non-viral": 1}
    assert summary.reasons == {"unmapped": 1}


def test_reads_of_the_files_without_a_line_are_unmapped(tmp_path: Path) -> None:
    paf, reads = tmp_path / "reads.paf", tmp_path / "reads.fa"
    paf.write_text(paf_line("a", "phage") + "\n")
    reads.write_text(">a one\nACGT\n>ab\nACGT\n>A\nACGT\n")
    write_calls_of_reads(paf, write_calls(tmp_path), tmp_path / "out", MappingRules(), [ReadFile(reads)])
    rows = [line.split("\t") for line in (tmp_path / "out" / FILE).read_text().splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("A", "", "unmapped"),
        ("a", "Viral", ""),
        ("ab", "", "unmapped"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "a\t100\t0\t100\t+\tphage\t5000\t7\t107\t99\t100",
        paf_line("a", "phage").replace("\t99\t", "\t101\t"),
        paf_line("a", "phage").replace("\t0\t100\t+", "\t60\t50\t+"),
        paf_line("a", "phage").replace("\t99\t", "\tmany\t"),
        "@SQ\tSN:phage\tLN:5000",
    ],
)
def test_a_line_that_is_no_alignment_is_named(tmp_path: Path, line: str) -> None:
    paf = tmp_path / "reads.paf"
    paf.write_text(paf_line("x", "phage") + "\n" + line + "\n")
    with pytest.raises(InputError, match=r"reads\.paf, line 2: found .*expected an alignment in PAF"):
        write_calls_of_reads(paf, write_calls(tmp_path), tmp_path / "out", MappingRules())
    assert not (tmp_path / "out" / FILE).exists()


def test_calls_of_other_contigs_and_other_tables_are_refused(tmp_path: Path) -> None:
    paf, other = tmp_path / "reads.paf", tmp_path / "other.tsv"
    paf.write_text(paf_line("a", "elsewhere") + "\n")
    with pytest.raises(InputError, match="contigs of which none is in"):
        write_calls_of_reads(paf, write_calls(tmp_path), tmp_path / "out", MappingRules())
    other.write_text("name\tcall\n")
    with pytest.raises(InputError, match="line 1: found no column ID or tier"):
        read_contig_calls(other)


def test_an_input_in_the_folder_is_not_replaced_and_a_former_table_is(tmp_path: Path) -> None:
    paf = tmp_path / FILE
    paf.write_text(paf_line("a", "phage") + "\n")
    with pytest.raises(InputError, match="under the name of a result"):
        write_calls_of_reads(paf, write_calls(tmp_path), tmp_path, MappingRules())
    assert paf.read_text() == paf_line("a", "phage") + "\n"
    for rules in (MappingRules(), MappingRules(min_identity=1)):
        write_calls_of_reads(paf, write_calls(tmp_path), tmp_path / "out", rules)
    assert "low_identity" in (tmp_path / "out" / FILE).read_text()


def test_the_command_prints_the_counts_and_where_the_table_is(
    new_installation: Callable[[str], Installation],
) -> None:
    installation = new_installation("contigs")
    paf, calls = installation.folder / "reads.paf", write_calls(installation.folder)
    paf.write_text("\n".join(LINES) + "\n")
    done = installation.run(
        "reads-from-contigs", "--paf", str(paf), "--calls", str(calls), "--out", "by-contig"
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["Non-viral: 1", "Viral: 1", "unmapped: 1", f"by-contig/{FILE}"]
    assert (installation.folder / "by-contig" / FILE).read_text() == TABLE
