"""Agreement of labels, on result files written by hand."""

from pathlib import Path

import pytest

from benchmarks.agreement import agreement, table

CANDIDATES = (
    "Sequence_ID\tPrediction\tscore1\tscore2\n"
    "a_chunk_1F1\tvirus\t0.2\t0.8\na_chunk_1R2\t{label}\t0.6\t{score}\n"
)
CHUNKS = (
    "Modified_ID\tIs_Virus\tmax_score_0\tmax_score_1\n"
    "a_chunk_1\t{is_virus}\t0.6\t0.8\nb_chunk_1\tFalse\t0.9\t0.1\n"
)


def write(folder: Path, label: str = "others", score: float = 0.4, is_virus: bool = True) -> Path:
    folder.mkdir()
    (folder / "prediction_results.txt").write_text(CANDIDATES.format(label=label, score=score))
    (folder / "prediction_results_highestscore.csv").write_text(CHUNKS.format(is_virus=is_virus))
    return folder


def test_equal_results_agree(tmp_path: Path) -> None:
    found = agreement(write(tmp_path / "one"), write(tmp_path / "other"))
    assert (found["candidates"], found["candidate_agreement"]) == (2, 1.0)
    assert (found["chunks"], found["chunk_agreement"]) == (2, 1.0)
    assert (found["largest_score_difference"], found["virus_share"]) == (0.0, 0.5)


def test_a_label_that_differs_counts_by_candidate_and_by_chunk(tmp_path: Path) -> None:
    found = agreement(write(tmp_path / "one"), write(tmp_path / "other", "virus", 0.55, is_virus=False))
    assert (found["candidate_agreement"], found["chunk_agreement"]) == (0.5, 0.5)
    assert found["largest_score_difference"] == pytest.approx(0.15)
    assert "| bfloat16 | 50.0000% | 50.0000% | 1.5e-01 |" in table({"bfloat16": found})


def test_results_of_other_candidates_are_not_compared(tmp_path: Path) -> None:
    other = write(tmp_path / "other")
    path = other / "prediction_results.txt"
    path.write_text(path.read_text().replace("R2", "R3"))
    with pytest.raises(ValueError, match="not results of the same candidates"):
        agreement(write(tmp_path / "one"), other)
