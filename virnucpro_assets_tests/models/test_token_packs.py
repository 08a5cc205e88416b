"""Packs: flat tokens, and the runs in which attention sees them."""

import numpy as np
import pytest
import torch

from virnucpro_assets.models.packs import Run, TokenPack, runs_of_equal_length
from virnucpro_assets.models.tokens import Tokens


def pack_of(*sequences: list[int]) -> TokenPack:
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    return TokenPack(torch.tensor([token for sequence in sequences for token in sequence]), lengths)


def test_neighbours_of_one_length_form_a_run() -> None:
    assert runs_of_equal_length(np.array([5, 5, 3, 5, 2, 2, 2])) == (
        Run(start=0, count=2, length=5),
        Run(start=10, count=1, length=3),
        Run(start=13, count=1, length=5),
        Run(start=18, count=3, length=2),
    )


def test_runs_cover_every_token_once() -> None:
    lengths = np.random.default_rng(1).integers(1, 4, 500)
    covered = [token for run in runs_of_equal_length(lengths) for token in range(lengths.sum())[run.tokens]]
    assert covered == list(range(lengths.sum()))


def test_an_empty_pack_has_no_runs() -> None:
    pack = TokenPack(torch.empty(0, dtype=torch.int64), np.empty(0, np.int64))
    assert (len(pack), pack.runs, pack.longest, pack.positions.tolist()) == (0, (), 0, [])


def test_positions_restart_at_every_sequence() -> None:
    assert pack_of([7, 7, 7], [8], [9, 9]).positions.tolist() == [0, 1, 2, 0, 0, 1]


def test_sorting_keeps_each_sequence_whole_and_says_where_it_was() -> None:
    ordered, order = pack_of([1], [2, 3], [4], [5, 6, 7], [8, 9]).sorted_by_length()
    assert ordered.tokens.tolist() == [5, 6, 7, 2, 3, 8, 9, 1, 4]
    assert ordered.lengths.tolist() == [3, 2, 2, 1, 1]
    assert order.tolist() == [3, 1, 4, 0, 2]


def test_a_pack_is_taken_from_any_sequences_of_a_batch_of_tokens() -> None:
    tokens = Tokens.from_lengths(np.arange(6, dtype=np.int32), np.array([1, 3, 2]))
    pack = TokenPack.from_tokens(tokens.take(np.array([2, 0])))
    assert pack.tokens.tolist() == [4, 5, 0]
    assert pack.tokens.dtype == torch.int64
    assert pack.lengths.tolist() == [2, 1]


@pytest.mark.parametrize("lengths", [[2, 2], [5, 0], [6, -1]])
def test_lengths_that_do_not_fit_the_tokens_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        TokenPack(torch.zeros(5, dtype=torch.int64), np.array(lengths))


def test_a_pack_is_cut_into_whole_sequences_under_a_limit() -> None:
    pieces = list(pack_of([1, 2], [3], [4, 5, 6, 7], [8], [9]).cut(3))
    assert [piece.tokens.tolist() for piece in pieces] == [[1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [piece.lengths.tolist() for piece in pieces] == [[2, 1], [4], [1, 1]]
