"""The measure of a run reads the consensus file as it is written."""

import sys

import pytest

from tools.demo.measure import bases_of_drop, main, scores_of_reads
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.errors import InputError

HEADER = "Modified_ID\tIs_Virus\tmax_score_0\tmax_score_1\n"


def test_a_reads_score_is_taken_over_all_its_chunks(tmp_path):
    path = tmp_path / "consensus.csv"
    path.write_text(HEADER + "a_chunk_1_chunk_1\tTrue\t0.25\t0.75\na_chunk_1_chunk_2\tFalse\t0.5\t0.5\n")
    assert scores_of_reads(path) == {"a_chunk_1": 0.25}


def test_another_header_is_refused_with_what_was_found(tmp_path):
    path = tmp_path / "consensus.csv"
    path.write_text("Sequence_ID\tPrediction\n")
    with pytest.raises(InputError, match="line 1: found 'Sequence_ID"):
        scores_of_reads(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "consensus.csv"
    path.write_text("")
    with pytest.raises(InputError, match="found nothing"):
        scores_of_reads(path)


def test_the_letters_of_the_drop_are_known_by_the_names_of_the_truth():
    assert list(bases_of_drop()) == list(read_truth())


def test_scores_that_tell_the_truth_print_an_area_of_one(tmp_path, monkeypatch, capsys):
    path = tmp_path / "consensus.csv"
    lines = [
        f"{name}_chunk_1\tTrue\t{0.1 if fact.label == 'virus' else 0.9}\t0.5\n"
        for name, fact in read_truth().items()
        if name != "demo_0001"
    ]
    path.write_text(HEADER + "".join(lines))
    monkeypatch.setattr(sys, "argv", ["measure", str(path)])
    main()
    first, seen, unseen = capsys.readouterr().out.splitlines()
    assert first.startswith("all genomes: AUROC 1.000 [1.000, 1.000], GC content alone 0.")
    assert first.endswith("; 412 viruses, 411 others, 1 without a score")
    assert seen.startswith("seen genomes: AUROC 1.000")
    assert unseen.startswith("unseen genomes: AUROC 1.000")
