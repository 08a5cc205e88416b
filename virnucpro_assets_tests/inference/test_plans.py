import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.inference.plans import expected_tokens, plan_packs, plan_parts


def naive_packs(tokens: list[int], budget: int) -> list[tuple[int, int]]:
    packs, start, used = [], 0, 0
    for position, count in enumerate(tokens):
        if used + count > budget:
            packs.append((start, position))
            start, used = position, 0
        used += count
    return [*packs, (start, len(tokens))] if tokens else []


@given(st.lists(st.integers(1, 100), max_size=100), st.integers(0, 120))
def test_packs_are_those_of_a_plain_loop_and_hold_every_sequence_once_within_the_budget(
    tokens: list[int], spare: int
) -> None:
    budget = max(tokens, default=0) + spare
    packs = plan_packs(np.array(tokens, np.int64), budget)
    assert packs == naive_packs(tokens, budget)
    assert [place for start, stop in packs for place in range(start, stop)] == list(range(len(tokens)))
    assert all(0 < sum(tokens[start:stop]) <= budget for start, stop in packs)


@given(st.lists(st.integers(1, 100), max_size=100), st.integers(1, 120), st.integers(1, 4))
def test_parts_are_a_fixed_number_of_whole_packs_also_of_sequences_over_the_budget(
    tokens: list[int], budget: int, packs_per_part: int
) -> None:
    parts = plan_parts(np.array(tokens, np.int64), 2, budget, packs_per_part)
    packs = naive_packs([min(count, budget) for count in tokens], budget)
    of_parts = [[pack for pack in packs if part.start <= pack[0] < part.stop] for part in parts]
    assert [pack for own in of_parts for pack in own] == packs
    assert [(own[0][0], own[-1][1]) for own in of_parts] == [(part.start, part.stop) for part in parts]
    assert all(len(own) == packs_per_part for own in of_parts[:-1])
    assert all(1 <= len(own) <= packs_per_part for own in of_parts[-1:])
    assert [(part.rank, part.number) for part in parts] == [(2, number) for number in range(len(parts))]


def test_a_sequence_over_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="101 tokens is over the token budget of 100"):
        plan_packs(np.array([101, 3]), 100)


def test_tokens_of_proteins_are_exact_and_those_of_dna_an_estimate() -> None:
    lengths = np.array([100, 1], np.int32)
    assert expected_tokens("esm2", lengths).tolist() == [102, 3]
    assert expected_tokens("dnabert_s", lengths).tolist() == [27, 3]
