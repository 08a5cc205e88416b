import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.calling.false_discovery import BINS, FalseDiscoveryRate, shifted

PROBABILITIES = st.lists(st.integers(0, BINS).map(lambda value: value / BINS), min_size=1, max_size=60)


def counted(*pieces: list[float]) -> FalseDiscoveryRate:
    rate = FalseDiscoveryRate()
    for piece in pieces:
        rate.add(np.array(piece, float))
    return rate


def plain_q_value(of: float, all_of_them: list[float]) -> float:
    """The mean of 1 - p over all that are at least as sure; 1 and what is just below it are one bin."""
    surer = [1 - p for p in all_of_them if min(p, 1 - 1 / BINS) >= min(of, 1 - 1 / BINS)]
    return sum(surer) / len(surer)


@given(PROBABILITIES)
def test_q_values_are_the_mean_of_what_is_at_least_as_sure(p_virus: list[float]) -> None:
    found = counted(p_virus).q_values(np.array(p_virus))
    assert found == pytest.approx([plain_q_value(one, p_virus) for one in p_virus])


@given(PROBABILITIES, st.floats(0, 1))
def test_the_threshold_of_a_wanted_rate_takes_all_reads_that_reach_it(
    p_virus: list[float], wanted: float
) -> None:
    rate = counted(p_virus)
    least, values = rate.least(wanted), np.array(p_virus)
    assert ((values >= least) == (rate.q_values(values) <= wanted)).all()
    assert rate.expected_wrong(least) == pytest.approx(sum(1 - p for p in p_virus if p >= least))


def test_pieces_count_as_the_whole_and_reads_without_a_probability_have_no_q_value() -> None:
    whole, pieces = counted([0.9, 0.5, 0.2]), counted([0.9], [np.nan, 0.5], [], [0.2])
    values = np.array([0.9, np.nan, 0.2])
    assert pieces.q_values(values) == pytest.approx(whole.q_values(values), nan_ok=True)
    assert np.isnan(pieces.q_values(values)).tolist() == [False, True, False]


def test_no_read_gives_no_threshold() -> None:
    assert counted().least(0.5) == np.inf
    assert counted([0.1]).least(0.5) == np.inf
    assert counted([0.1]).expected_wrong(np.inf) == 0


def test_the_odds_follow_the_share_of_viruses() -> None:
    p_virus = np.array([0.0, 0.5, 0.9, 1.0])
    assert shifted(p_virus, 0.5, 0.5) == pytest.approx(p_virus)
    # Odds of 1 and of 9, times (0.1 / 0.9) / (0.5 / 0.5).
    assert shifted(p_virus, 0.5, 0.1) == pytest.approx([0, 0.1, 0.5, 1])
    assert shifted(shifted(p_virus, 0.5, 0.1), 0.1, 0.5) == pytest.approx(p_virus)


def test_the_estimated_rate_is_the_true_one_where_probabilities_are_right() -> None:
    generator = np.random.default_rng(3)
    p_virus = generator.beta(0.5, 1.5, 200_000)
    is_virus = generator.random(len(p_virus)) < p_virus
    rate = FalseDiscoveryRate()
    rate.add(p_virus)
    for wanted in (0.01, 0.05, 0.1, 0.2, 0.5):
        called = p_virus >= rate.least(wanted)
        spread = np.sqrt(wanted * (1 - wanted) / called.sum())
        assert (~is_virus[called]).mean() == pytest.approx(wanted, abs=4 * spread)
