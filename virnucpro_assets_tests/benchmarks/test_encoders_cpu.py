"""The measurement of the encoders: its samples, its goals, and a run on a small encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.contests import make_contest
from benchmarks.cpu_slots import CpuSlots
from benchmarks.encoders_cpu import least_cosine, measure, shortfalls, table
from benchmarks.gemm_rate import LayerProducts
from benchmarks.sample_sequences import sample_of
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.vocabulary import Precision

SMALL = {
    "esm2": Esm2Config(num_hidden_layers=2, hidden_size=32, num_attention_heads=4),
    "dnabert_s": DnabertSConfig(
        num_hidden_layers=2, hidden_size=48, num_attention_heads=12, intermediate_size=96, vocab_size=4096
    ),
}
GOOD: dict[str, Any] = {
    "ratio": 4.0,
    "share_of_gemm": 0.95,
    "least_cosine": 1.0,
    "ratio_of_rounds": [4.0],
    "gflops": 1,
}


def test_a_sample_has_the_lengths_of_the_whole() -> None:
    lengths = np.random.default_rng(1).integers(20, 100, 5000)
    chosen = sample_of(lengths, 6000)
    assert len(set(chosen.tolist())) == len(chosen)
    assert lengths[chosen].sum() == pytest.approx(6000, rel=0.02)
    assert lengths[chosen].std() == pytest.approx(lengths.std(), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_both_sides_of_a_contest_agree_and_are_timed(name: str, tmp_path: Path) -> None:
    precisions: list[Precision] = ["float32", "bfloat16"]
    contest = make_contest(SMALL[name], "60 to 500", precisions, 500, tmp_path)
    result = measure(contest, {some: LayerProducts(SMALL[name], some) for some in precisions}, 1)
    assert result["tokens"] == pytest.approx(500, rel=0.1)
    assert result["float32"]["least_cosine"] >= 0.999999
    assert 0.99 <= result["bfloat16"]["least_cosine"] < 0.999999
    for precision in precisions:
        found = result[precision]
        assert found["ratio"] == pytest.approx(result["original_seconds"][0] / found["seconds"][0], rel=0.5)


@pytest.mark.slow
def test_slots_embed_every_sequence_once_and_in_order(tmp_path: Path) -> None:
    with CpuSlots(2) as slots:
        contest = make_contest(SMALL["esm2"], "60 to 500", ["float32"], 500, tmp_path, slots=slots)
        found, expected = contest.ours["float32"](), contest.original()
    assert len(found) == contest.figures["sequences"] > 2
    assert np.abs(found - expected).max() < 1e-5


def test_what_falls_short_of_a_goal_is_named() -> None:
    slow = GOOD | {"ratio": 1.1, "share_of_gemm": 0.8}
    assert shortfalls({"esm2_35m, reads of 150": {"float32": slow, "bfloat16": GOOD}}) == [
        "esm2_35m, reads of 150, float32: found ratio 1.1; expected at least 1.2",
        "esm2_35m, reads of 150, float32: found share_of_gemm 0.8; expected at least 0.85",
    ]


def test_the_table_has_a_line_for_each_precision_measured() -> None:
    lines = table({"esm2_8m, reads of 150": {"float32": GOOD}}).splitlines()
    assert lines[2:] == [
        "| esm2_8m, reads of 150 | float32 | 4.00 (4.00 to 4.00) | 1 | 95% | 4.21 | 1.000000 |"
    ]


def test_the_least_cosine_is_that_of_the_worst_row() -> None:
    rows = np.eye(2, dtype=np.float32)
    assert least_cosine(rows, np.array([[2, 0], [3, 4]], np.float32)) == pytest.approx(0.8)
