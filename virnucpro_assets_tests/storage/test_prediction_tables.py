import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.sequences.batches import FRAMES
from virnucpro_assets.storage.prediction_tables import write_predictions
from virnucpro_assets.storage.scored_members import scored_reads

FILES = ("predictions.parquet", "prediction_results.txt")


def test_golden_predictions_are_equal_byte_for_byte(golden_drop, golden_tables, tmp_path):
    summary = golden_drop.predict(tmp_path)
    expected = (golden_tables / "prediction_results.txt").read_bytes()
    assert (tmp_path / "prediction_results.txt").read_bytes() == expected
    assert (summary.members, summary.virus, summary.not_scored) == (77, expected.count(b"\tvirus\t"), 0)


def test_the_parquet_table_has_the_same_rows_as_the_text(golden_drop, tmp_path):
    golden_drop.predict(tmp_path)
    lines = (tmp_path / "prediction_results.txt").read_text().splitlines()[1:]
    table = pq.read_table(tmp_path / "predictions.parquet")
    names = ["id", "label", "p_others", "p_virus"]
    assert table.schema.names == [*names, "route", "p_virus_calibrated"]
    assert [str(kind) for kind in table.schema.types[:4]] == ["string", "string", "float", "float"]
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    expected = [line.split("\t") for line in lines]
    assert [(i, label, str(np.float32(a)), str(np.float32(b))) for i, label, a, b in rows] == [
        tuple(line) for line in expected
    ]


@pytest.mark.parametrize(("member_size", "read_size"), [(1, 1), (3, 1000), (1000, 2), (7, 5)])
def test_batches_of_any_size_make_the_same_files(random_drop, tmp_path, member_size, read_size):
    drop = random_drop(3, 60)
    drop.predict(tmp_path / "whole", members=9999, reads=9999)
    drop.predict(tmp_path / "cut", members=member_size, reads=read_size)
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_random_predictions_are_those_of_a_plain_loop(random_drop, tmp_path):
    drop = random_drop(4, 200)
    drop.predict(tmp_path, members=64, reads=9)
    lines = ["Sequence_ID\tPrediction\tscore1\tscore2"]
    members = drop.members
    for read, chunk, frame, (others, virus) in zip(
        members.read, members.chunk, members.frame, members.scores, strict=True
    ):
        name = f"{drop.reads.names[read]}_chunk_{chunk}{FRAMES[frame]}"
        lines.append(f"{name}\t{'virus' if virus > others else 'others'}\t{others!s}\t{virus!s}")
    assert (tmp_path / "prediction_results.txt").read_bytes().decode() == "\n".join(lines) + "\n"


def test_an_empty_drop_gives_files_with_a_header_and_no_rows(tmp_path):
    summary = write_predictions(iter([]), iter([]), tmp_path)
    assert (tmp_path / "prediction_results.txt").read_text() == "Sequence_ID\tPrediction\tscore1\tscore2\n"
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 0
    assert summary.members == 0


def test_a_member_without_scores_is_counted_and_left_out(golden_drop, tmp_path):
    golden_drop.members.scores[5] = np.nan
    summary = golden_drop.predict(tmp_path)
    text = (tmp_path / "prediction_results.txt").read_text()
    assert (summary.members, summary.not_scored) == (76, 1)
    assert "two_chunks_600_chunk_2F1" not in text
    assert "two_chunks_600_chunk_1F1" in text


def test_members_of_other_reads_are_refused(golden_drop, tmp_path):
    golden_drop.reads.members[:2] = golden_drop.reads.members[:2][::-1]
    with pytest.raises(IntegrityError, match=r"from 'exact_300' on; expected the 77 of the drop's index"):
        golden_drop.predict(tmp_path, reads=100)
    assert list(tmp_path.iterdir()) == []


def test_missing_and_surplus_members_are_refused(golden_drop):
    missing = iter([golden_drop.members[:-1]])
    with pytest.raises(IntegrityError, match="found other members"):
        list(scored_reads(missing, golden_drop.read_batches(100)))
    surplus = iter([golden_drop.members, golden_drop.members[-1:]])
    with pytest.raises(IntegrityError, match="found more members than the drop's index has"):
        list(scored_reads(surplus, golden_drop.read_batches(100)))


@pytest.mark.parametrize("piece_members", [1, 5, 40])
def test_pieces_hold_whole_reads_and_few_members(random_drop, piece_members):
    drop = random_drop(8, 80)
    pieces = list(scored_reads(drop.member_batches(11), drop.read_batches(30), piece_members))
    assert [name for piece in pieces for name in piece.reads.names] == drop.reads.names
    largest = int(drop.reads.members.max())
    assert max(len(piece.members) for piece in pieces) < piece_members + largest
    assert sum(len(piece.members) for piece in pieces) == len(drop.members)
