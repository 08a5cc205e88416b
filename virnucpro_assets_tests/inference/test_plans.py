import numpy as np
import pytest

from virnucpro_assets.inference.plans import expected_tokens, plan_packs, plan_parts


def naive_packs(tokens: list[int], budget: int) -> list[tuple[int, int]]:
    packs, start, used = [], 0, 0
    for position, count in enumerate(tokens):
        if used + count > budget:
            packs.append((start, position))
            start, used = position, 0
        used += count
    return [*packs, (start, len(tokens))] if tokens else []


@pytest.mark.parametrize("seed", range(20))
def test_packs_are_those_of_a_plain_loop_and_never_over_budget(seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens = np.sort(random.integers(3, 60, random.integers(0, 200)))[::-1].astype(np.int64)
    packs = plan_packs(tokens, 100)
    assert packs == naive_packs(tokens.tolist(), 100)
    assert all(tokens[start:stop].sum() <= 100 for start, stop in packs)


def test_a_sequence_over_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="101 tokens is over the token budget of 100"):
        plan_packs(np.array([101, 3]), 100)


def test_parts_hold_a_fixed_number_of_packs_and_cover_all_rows_once() -> None:
    tokens = np.full(23, 25, np.int64)
    parts = plan_parts(tokens, 2, token_budget=100, packs_per_part=2)
    assert [(part.start, part.stop) for part in parts] == [(0, 8), (8, 16), (16, 23)]
    assert [part.number for part in parts] == [0, 1, 2]
    assert {part.rank for part in parts} == {2}
    assert plan_parts(np.empty(0, np.int64), 0, 100, 2) == []


def test_tokens_of_proteins_are_exact_and_those_of_dna_an_estimate() -> None:
    lengths = np.array([100, 1], np.int32)
    assert expected_tokens("esm2", lengths).tolist() == [102, 3]
    assert expected_tokens("dnabert_s", lengths).tolist() == [27, 3]
