"""Odd but right input goes through the command line, and each read of it is accounted for."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets_tests.results import TABLES
from virnucpro_assets_tests.unaligned_bam import unaligned_bam

pytestmark = pytest.mark.timeout(300)

STRETCH = "ATGGCTGCAGGTCTGAAAGTTCGTGAC"
ODD_FASTA = {
    "only_n": "N" * 400,
    "one": "A",
    "two": "AC",
    "three": "ATG",
    "four": "ATGC",
    "five": "ATGCA",
    "no_bases": "",
    "gaps": "ATG---GCT-CAGGGT",
    "only_gaps": "-" * 30,
    "stops": "TAAC" * 10,
    "stretch": STRETCH,
}
ODD_REASONS = {
    "only_n": "no_codon",
    "one": "too_short",
    "two": "too_short",
    "no_bases": "empty",
    "only_gaps": "no_codon",
    "stops": "no_stop_free_frame",
}
CONTIG = 200_000


@dataclass(frozen=True)
class Right:
    """An installation in which right, if odd, drops were made, and what each command came to."""

    installation: Any
    outcomes: list[Any]

    def calls(self, out: str) -> dict[str, dict[str, Any]]:
        rows = pq.read_table(self.installation.folder / out / "read_calls.parquet").to_pylist()
        assert len({row["name"] for row in rows}) == len(rows)
        return {row["name"]: row for row in rows}


@pytest.fixture(scope="module")
def right(new_installation: Callable[[str], Any]) -> Right:
    installation = new_installation("right")
    folder = installation.folder
    contig = np.random.default_rng(5).choice(np.frombuffer(b"ACGT", np.uint8), CONTIG).tobytes()
    records = [*ODD_FASTA.items(), ("contig", contig.decode())]
    (folder / "odd.fa").write_text("".join(f">{name} some words\n{bases}\n" for name, bases in records))
    for mate in (1, 2):
        text = "".join(f"@p{n}\n{STRETCH * mate}\n+\n{'I' * 27 * mate}\n" for n in range(3))
        (folder / f"pair_R{mate}.fastq").write_text(text)
    (folder / "pairs.bam").write_bytes(unaligned_bam({"b0": (STRETCH * 3, "NNNN"), "b1": ("AC", STRETCH)}))
    (folder / "wrong.fa").write_bytes(bytes(range(256)))
    (folder / "empty.fastq").touch()
    (folder / "silent.fa").write_text(f">stops\n{ODD_FASTA['stops']}\n")
    arrived = folder / "drops" / "arrived"
    arrived.mkdir(parents=True)
    (arrived / "reads.fa").write_text(f">x\n{STRETCH}\n")
    odd = ["odd.fa", "pair_R1.fastq", "pair_R2.fastq", "pairs.bam"]
    lines = [
        ["predict", "wrong.fa", "--name", "odd", "--out", "odd"],
        ["predict", *odd, "--name", "odd", "--out", "odd"],
        ["predict", "empty.fastq", "--out", "empty"],
        ["predict", "empty.fastq", "--name", "odd", "--out", "other"],
        ["materialize", "arrived"],
        ["report", "arrived"],
        ["drops"],
        ["forget", "empty"],
        ["forget", "empty", "--delete"],
        ["forget", "empty"],
        ["drops"],
        ["predict", "silent.fa", "--out", "silent"],
    ]
    return Right(installation, installation.run_all([(line, {}) for line in lines]))


def test_a_drop_whose_files_were_wrong_may_be_given_again(right: Right) -> None:
    wrong, again = right.outcomes[:2]
    assert (wrong.exit_code, again.exit_code) == (2, 0), again.stderr
    lines = again.stdout.splitlines()
    assert lines[: len(TABLES)] == [f"odd/{name}" for name in TABLES]
    assert lines[len(TABLES)].startswith("drop odd, generation ")
    assert lines[-1].endswith("/report.html")


def test_a_drop_that_was_made_is_not_replaced_unasked(right: Right) -> None:
    refused = right.outcomes[3]
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: drop odd: found another drop of this name with other files or options; expected a new name or "
        "the same files. Choose another name (--name), or replace the drop (--replace).\n",
    )
    assert not (right.installation.folder / "other").exists()


def test_every_odd_read_has_a_call_or_a_reason(right: Right) -> None:
    calls = right.calls("odd")
    pairs = [f"p{n}/{mate}" for mate in (1, 2) for n in range(3)]
    assert list(calls) == [*ODD_FASTA, "contig", *pairs, "b0/1", "b0/2", "b1/1", "b1/2"]
    reasons = {name: row["reason"] for name, row in calls.items() if row["reason"]}
    assert reasons == ODD_REASONS | {"b0/2": "no_codon", "b1/1": "too_short"}
    assert [name for name, row in calls.items() if (row["call"] is None) != (name in reasons)] == []


def test_reads_of_odd_files_keep_their_lengths_and_chunks(right: Right) -> None:
    calls = right.calls("odd")
    lengths = {name: len(bases) for name, bases in ODD_FASTA.items()} | {"contig": CONTIG}
    lengths |= {f"p{n}/{mate}": 27 * mate for mate in (1, 2) for n in range(3)}
    lengths |= {"b0/1": 81, "b0/2": 4, "b1/1": 2, "b1/2": 27}
    assert {name: row["length"] for name, row in calls.items()} == lengths
    assert {name: row["chunks"] for name, row in calls.items()} == {
        name: -(-length // 300) for name, length in lengths.items()
    }


def test_equal_reads_have_equal_scores(right: Right) -> None:
    calls = right.calls("odd")
    scores = {calls[name]["max_score_1"] for name in ("stretch", "p0/1", "p1/1", "p2/1", "b1/2")}
    assert len(scores) == 1
    assert None not in scores


def test_the_chunks_of_a_contig_are_in_the_consensus_file(right: Right) -> None:
    lines = (right.installation.folder / "odd" / TABLES[2]).read_text().splitlines()[1:]
    numbers = [
        int(line.split("\t")[0].rpartition("_")[2]) for line in lines if line.startswith("contig_chunk_")
    ]
    assert len(numbers) == len(set(numbers)) == right.calls("odd")["contig"]["scored_chunks"] > 10
    assert max(numbers) <= -(-CONTIG // 300)


HEADERS = {
    "prediction_results.txt": "Sequence_ID\tPrediction\tscore1\tscore2\n",
    "prediction_results_highestscore.csv": "Modified_ID\tIs_Virus\tmax_score_0\tmax_score_1\n",
    "contig_calls.tsv": "ID\tcall\ttier\tweighted_delta\tn_chunks\tn_confident_viral\tn_confident_nonviral"
    "\tn_ambiguous\tviral_proportion\tnonviral_proportion\n",
    "hits.fasta": "",
    "viral_regions.bed": "#chrom\tstart\tend\tname\tscore\tstrand\n",
    "viral_regions.gff3": "##gff-version 3\n",
}
PARQUET = [name for name in TABLES if name.endswith(".parquet")]


def test_an_empty_file_gives_a_warning_and_tables_without_rows(right: Right) -> None:
    outcome, out = right.outcomes[2], right.installation.folder / "empty"
    assert outcome.exit_code == 0
    assert "warning: drop empty holds no reads; every output will be empty" in outcome.stderr.splitlines()
    assert sorted(path.name for path in out.glob("[!.]*")) == sorted(TABLES)
    assert {name: (out / name).read_text() for name in HEADERS} == HEADERS
    assert {*HEADERS, *PARQUET, "report.html"} == set(TABLES)
    assert {pq.read_table(out / name).num_rows for name in PARQUET} == {0}
    page = (out / "report.html").read_text()
    assert "This drop is empty." in page
    assert "expected share of wrong ones" not in page
    assert "Scores along the contigs" not in page


def test_a_drop_without_a_call_gives_headers_and_the_reason_of_each_read(right: Right) -> None:
    outcome, out = right.outcomes[11], right.installation.folder / "silent"
    assert outcome.exit_code == 0, outcome.stderr
    assert {name: (out / name).read_text() for name in HEADERS} == HEADERS
    rows = {name: pq.read_table(out / name).num_rows for name in PARQUET}
    assert rows == {name: int(name == "read_calls.parquet") for name in PARQUET}
    assert right.calls("silent")["stops"]["reason"] == "no_stop_free_frame"
    page = (out / "report.html").read_text()
    assert "No read could be called." in page
    assert "expected to be wrong" not in page


def test_reads_of_low_complexity_are_called_like_others_and_say_so(right: Right) -> None:
    calls = right.calls("odd")
    low = {name: row["low_complexity_share"] for name, row in calls.items() if name in ODD_FASTA}
    assert low == {
        **dict.fromkeys(ODD_FASTA, 0.0),
        "no_bases": None,
        # TAAC ten times: 38 triplets of four kinds.
        "stops": 1.0,
    }
    assert 0 <= calls["contig"]["low_complexity_share"] < 0.01


def test_a_delivered_folder_is_materialised_and_reported(right: Right) -> None:
    made, reported = right.outcomes[4:6]
    assert (made.exit_code, reported.exit_code, reported.stderr) == (0, 0, "")
    *same, state = reported.stdout.splitlines()
    assert same == made.stdout.splitlines()
    assert re.fullmatch(r"state: done, /.+/data/arrived/[0-9a-f]{12}/report\.html", state)
    lines = made.stdout.splitlines()
    assert re.fullmatch(r"drop arrived, generation [0-9a-f]{12}", lines[0])
    assert lines[1] == "1 read, 4 stop-free frames, 4 distinct"
    assert "13 of 21 checks passed; 8 not judged, for too little data" in lines
    page = Path(lines[-1].removeprefix("report: "))
    assert page.parents[2] == right.installation.data_root
    assert page.read_text().startswith("<!doctype html>")


def test_drops_lists_the_state_of_each_drop(right: Right) -> None:
    listed = right.outcomes[6]
    header, *lines = [line.split() for line in listed.stdout.splitlines()]
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert header == ["drop", "state", "why"]
    assert [line[:2] for line in lines] == [[drop, "done"] for drop in ("arrived", "empty", "odd")]
    assert [Path(line[2]).name for line in lines] == ["report.html"] * 3
    assert right.installation.leftovers() == []


def test_a_drop_is_forgotten_and_its_reads_and_its_runs_stay(right: Right) -> None:
    would, done, again, listed = right.outcomes[7:11]
    folder, reads = right.installation.data_root / "empty", right.installation.folder / "empty.fastq"
    assert [(outcome.exit_code, outcome.stderr) for outcome in (would, done)] == [(0, ""), (0, "")]
    lines = done.stdout.splitlines()
    assert re.fullmatch(rf"removed: {folder}, 1 generation, [0-9.]+ kB", lines[0])
    assert lines[1:3] == ["removed: partition empty of sequence_drops", f"stays: {reads}"]
    assert re.match(r"stays in the run history: 3 runs with all events \(", lines[3])
    assert would.stdout.splitlines() == [
        *(line.replace("removed: ", "would remove: ") for line in lines),
        "nothing was removed (--delete does it)",
    ]
    assert (again.exit_code, again.stderr) == (
        2,
        "error: drop empty: found no such drop; expected a drop that `virnucpro drops` shows. Check the name.\n",
    )
    assert not folder.exists()
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["arrived", "odd"]
