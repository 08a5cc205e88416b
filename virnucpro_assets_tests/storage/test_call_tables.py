from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.calling.calls import call_members, call_reads
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.call_tables import write_calls
from virnucpro_assets.storage.calls import CALLS, TIERS, ChunkCalls
from virnucpro_assets.storage.scored_members import ScoredBy
from virnucpro_assets_tests.calling.test_calls import call_and_tier, figures, largest_scores, weighted_delta

SORTED = ("prediction_results_highestscore.csv", "contig_calls.tsv")
FILES = (*SORTED, "chunk_calls.parquet", "read_calls.parquet")


def test_golden_calls_are_equal_byte_for_byte(golden_drop, golden_tables, tmp_path):
    golden_drop.call(tmp_path)
    for name in SORTED:
        assert (tmp_path / name).read_bytes() == (golden_tables / name).read_bytes()


@pytest.mark.parametrize(("member_size", "read_size"), [(1, 1), (3, 1000), (1000, 2), (7, 5)])
def test_batches_of_any_size_make_the_same_calls(random_drop, tmp_path, member_size, read_size):
    drop = random_drop(13, 60)
    drop.call(tmp_path / "whole", members=9999, reads=9999)
    drop.call(tmp_path / "cut", members=member_size, reads=read_size)
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_tables_of_random_reads_hold_the_calls_of_the_rules_in_order_of_their_ids(random_drop, tmp_path):
    drop, limits = random_drop(1, 600), CallThresholds()
    drop.call(tmp_path, limits, members=50, reads=40)
    names, by_read = drop.reads.names, largest_scores(drop.members)
    chunks = [
        (f"{names[read]}_chunk_{chunk}", f"{virus >= others}\t{others!s}\t{virus!s}")
        for read, own in by_read.items()
        for chunk, (others, virus) in own.items()
    ]
    text = "".join(f"{name}\t{rest}\n" for name, rest in sorted(chunks))
    header = "Modified_ID\tIs_Virus\tmax_score_0\tmax_score_1\n"
    assert (tmp_path / SORTED[0]).read_bytes().decode() == header + text
    table = pq.read_table(tmp_path / "chunk_calls.parquet")
    assert table["id"].to_pylist() == [name for name, _ in chunks]
    assert table["is_virus"].to_pylist() == [rest.startswith("True") for _, rest in chunks]

    rows = []
    for read, own in by_read.items():
        scores = list(own.values())
        delta = weighted_delta(scores)
        *counts, viral, non_viral = figures(scores, limits)
        numbers = [round(delta, 3) + 0.0, *counts, round(viral, 3), round(non_viral, 3)]
        rows.append((names[read], *call_and_tier(scores, limits, delta), *numbers))
    lines = (tmp_path / SORTED[1]).read_bytes().decode().split("\n")[1:-1]
    assert lines == ["\t".join(map(str, row)) for row in sorted(rows)]


def test_every_read_has_a_row_with_its_call_or_its_reason(golden_drop, tmp_path):
    golden_drop.call(tmp_path)
    table = pq.read_table(tmp_path / "read_calls.parquet").to_pylist()
    assert [row["name"] for row in table] == golden_drop.reads.names
    assert table[3] == {
        "name": "hopeless_3", "length": 7, "chunks": 0, "scored_chunks": 0, "unreadable_frames": 0,
        "call": None, "tier": None, "weighted_delta": None,
        "n_confident_viral": None, "n_confident_nonviral": None, "n_ambiguous": None,
        "viral_proportion": None, "nonviral_proportion": None, "max_score_0": None, "max_score_1": None,
        "reason": "no_stop_free_frame", "route": None, "p_virus_calibrated": None, "q_value": None,
        "low_complexity_share": None,
    }  # fmt: skip
    contig = table[-1]
    assert contig["weighted_delta"] == pytest.approx(0.938, abs=5e-4)
    assert contig["max_score_1"] == np.float32(0.98924124)
    names = ("name", "scored_chunks", "call", "tier", "n_confident_viral", "reason")
    assert [contig[name] for name in names] == ["long_contig", 12, "Viral", "high_confidence", 12, None]


def test_a_read_whose_members_have_no_scores_is_not_scored(golden_drop, tmp_path):
    golden_drop.members.scores[golden_drop.members.read == 1] = np.nan
    summary = golden_drop.call(tmp_path)
    row = pq.read_table(tmp_path / "read_calls.parquet").slice(1, 1).to_pylist()[0]
    assert (row["name"], row["chunks"], row["scored_chunks"]) == ("one_over_301", 2, 0)
    assert (row["call"], row["reason"]) == (None, "not_scored")
    assert summary.reasons == {"not_scored": 1, "no_stop_free_frame": 2}


def test_the_summary_counts_calls_by_tier(golden_drop, golden_tables, tmp_path):
    summary = golden_drop.call(tmp_path)
    lines = [line.split("\t") for line in (golden_tables / "contig_calls.tsv").read_text().splitlines()[1:]]
    for call, tiers in summary.calls.items():
        for tier, count in tiers.items():
            assert count == sum(line[1:3] == [call, tier] for line in lines)
    consensus = (golden_tables / SORTED[0]).read_text().splitlines()[1:]
    assert (summary.reads, summary.called_reads) == (len(lines) + 2, len(lines))
    assert (summary.chunks, summary.virus_chunks) == (
        len(consensus),
        sum("\tTrue\t" in line for line in consensus),
    )


def test_the_row_of_a_read_says_how_many_of_its_frames_are_hardly_readable(golden_drop, tmp_path):
    golden_drop.call(tmp_path)
    found = pq.read_table(tmp_path / "read_calls.parquet")["unreadable_frames"].to_pylist()
    assert found == golden_drop.reads.unreadable.tolist()
    assert sum(found) > 2


def test_dust_scores_go_to_their_chunks_and_the_share_of_high_ones_to_the_read(random_drop, tmp_path):
    drop = random_drop(13, 60)
    counts = drop.reads.chunks.astype(np.int64)
    scores = np.random.default_rng(0).uniform(0, 40, counts.sum()).astype(np.float32)
    left = iter(scores)
    write_calls(
        drop.member_batches(7),
        drop.read_batches(5),
        tmp_path,
        partial(call_members, thresholds=CallThresholds()),
        lambda count: np.array([next(left) for _ in range(count)], np.float32),
        low_complexity_above=30,
    )
    of_reads = dict(zip(drop.reads.names, np.split(scores, np.cumsum(counts)[:-1]), strict=True))
    for row in pq.read_table(tmp_path / "read_calls.parquet").to_pylist():
        own = of_reads[row["name"]]
        assert row["low_complexity_share"] == (pytest.approx((own > 30).mean()) if len(own) else None)
    chunks = pq.read_table(tmp_path / "chunk_calls.parquet").to_pylist()
    assert len(chunks) > 60
    assert [row["dust_score"] for row in chunks] == [
        of_reads[row["name"]][row["chunk"] - 1] for row in chunks
    ]


def test_thresholds_decide_calls_and_tiers(golden_drop, tmp_path):
    strict = CallThresholds(viral_above=0.95, high_above=0.99)
    golden_drop.call(tmp_path / "a", strict)
    lenient = CallThresholds(min_chunks=1, min_confident_chunks=0, min_confident_share=0.0)
    golden_drop.call(tmp_path / "b", lenient)
    by_name = [
        {
            line.split("\t")[0]: line.split("\t")[1:3]
            for line in (tmp_path / part / SORTED[1]).read_text().splitlines()
        }
        for part in "ab"
    ]
    assert by_name[0]["long_contig"] == ["Ambiguous", "review"]
    assert by_name[0]["read_100"] == ["Non-viral", "low_confidence"]
    assert by_name[1]["exact_300"] == ["Viral", "moderate_confidence"]
    assert by_name[1]["read_100"] == ["Non-viral", "high_confidence"]


@pytest.mark.parametrize(
    ("virus", "call", "tier"),
    [
        ([0.99] + 9 * [0.03], "Viral", "low_confidence"),
        ([0.99] + 3 * [0.03], "Viral", "review"),
        (10 * [0.99], "Viral", "high_confidence"),
        ([0.99] + 9 * [0.6], "Viral", "moderate_confidence"),
        ([0.95] + 2 * [0.05] + 7 * [0.5], "Viral", "low_confidence"),
        (10 * [0.03], "Non-viral", "high_confidence"),
        (10 * [0.6], "Ambiguous", "review"),
    ],
)
def test_a_tier_of_confidence_needs_a_weighted_delta_on_the_side_of_the_call(
    virus: list[float], call: str, tier: str
) -> None:
    scores = np.array([[1 - p, p] for p in virus], np.float32)
    count = len(virus)
    chunks = ChunkCalls(
        np.zeros(count, np.int64),
        np.arange(1, count + 1, dtype=np.int32),
        scores,
        np.zeros(count, np.int8),
        scores[:, 1] > scores[:, 0],
    )
    by_threshold = (ScoredBy("joint", lambda p_virus: p_virus.astype(float), 0.9),)
    found = call_reads(chunks, CallThresholds(wanted_precision=0.95), by_threshold)
    assert (CALLS[found.call[0]], TIERS[found.tier[0]]) == (call, tier)
    side = {"Viral": 1, "Non-viral": -1, "Ambiguous": 0}[call]
    assert tier.startswith(("low", "review")) or side * found.weighted_delta[0] > 0.3


def test_an_empty_drop_gives_every_call_file_with_a_header_and_no_rows(golden_tables, tmp_path):
    summary = write_calls(
        iter([]), iter([]), tmp_path, partial(call_members, thresholds=CallThresholds()), np.zeros
    )
    for name in SORTED:
        header = (golden_tables / name).read_text().splitlines(keepends=True)[0]
        assert (tmp_path / name).read_text() == header
    assert [pq.read_table(tmp_path / name).num_rows for name in FILES[2:]] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert summary.reads == 0
