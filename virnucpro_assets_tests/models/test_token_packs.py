"""Packs: flat tokens, and the runs in which attention sees them."""

from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.models.packs import Run, TokenPack, runs_of_equal_length
from virnucpro_assets.sequences.ragged import Tokens

sequences = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), max_size=30)


def tokens_of(sequences: list[list[int]]) -> Tokens:
    ids = np.array([token for sequence in sequences for token in sequence], np.int32)
    return Tokens.from_lengths(ids, np.array([len(sequence) for sequence in sequences], np.int64))


def sequences_of(pack: TokenPack) -> list[list[int]]:
    return [part.tolist() for part in pack.tokens.split(pack.lengths.tolist())] if len(pack) else []


@given(sequences)
def test_a_pack_lays_sequences_end_to_end_and_knows_where_each_begins(sequences: list[list[int]]) -> None:
    pack = TokenPack.from_tokens(tokens_of(sequences))
    assert (pack.tokens.dtype, pack.bounds.dtype) == (torch.int64, torch.int32)
    assert (len(pack), sequences_of(pack)) == (len(sequences), sequences)
    assert pack.longest == max(map(len, sequences), default=0)
    assert pack.positions.tolist() == [place for sequence in sequences for place in range(len(sequence))]
    ends = np.cumsum([0, *map(len, sequences)]).tolist()
    assert pack.bounds.tolist() == ends
    groups = [(length, len(list(group))) for length, group in groupby(map(len, sequences))]
    assert [(run.length, run.count) for run in pack.runs] == groups
    covered = [token for run in pack.runs for token in range(ends[-1])[run.tokens]]
    assert covered == list(range(ends[-1]))


@given(sequences, st.integers(1, 12))
def test_a_pack_is_cut_into_the_longest_pieces_of_whole_sequences_under_a_limit(
    sequences: list[list[int]], limit: int
) -> None:
    pieces = [sequences_of(piece) for piece in TokenPack.from_tokens(tokens_of(sequences)).cut(limit)]
    assert [sequence for piece in pieces for sequence in piece] == sequences
    sizes = [sum(map(len, piece)) for piece in pieces]
    assert all(size <= limit or len(piece) == 1 for size, piece in zip(sizes, pieces, strict=True))
    assert all(size + len(following[0]) > limit for size, following in zip(sizes, pieces[1:], strict=False))


@given(sequences)
def test_sorting_keeps_each_sequence_whole_and_says_where_it_was(sequences: list[list[int]]) -> None:
    ordered, order = TokenPack.from_tokens(tokens_of(sequences)).sorted_by_length()
    assert order.tolist() == sorted(range(len(sequences)), key=lambda place: -len(sequences[place]))
    assert sequences_of(ordered) == [sequences[place] for place in order]


def test_neighbours_of_one_length_form_a_run() -> None:
    assert runs_of_equal_length(np.array([5, 5, 3, 5, 2, 2, 2])) == (
        Run(start=0, count=2, length=5),
        Run(start=10, count=1, length=3),
        Run(start=13, count=1, length=5),
        Run(start=18, count=3, length=2),
    )


@given(sequences, st.randoms(use_true_random=False))
def test_a_part_of_a_batch_of_tokens_is_its_sequences_in_the_order_asked_for(sequences, random) -> None:
    order = [random.randrange(len(sequences)) for _ in sequences]
    taken = TokenPack.from_tokens(tokens_of(sequences).take(np.array(order, np.int64)))
    assert sequences_of(taken) == [sequences[place] for place in order]


@pytest.mark.parametrize("lengths", [[2, 2], [5, 0], [6, -1]])
def test_lengths_that_do_not_fit_the_tokens_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        TokenPack(torch.zeros(5, dtype=torch.int64), np.array(lengths))
