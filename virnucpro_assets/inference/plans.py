"""Plans: which rows go through a model together, decided before anything is computed.

A pack is filled with consecutive sequences, longest first, until the next one would exceed
the token budget. A part is a fixed number of packs. Both follow from the sequences' lengths
and the budget alone.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import counted
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.models.configs import count_flops
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.parts import PartPlan
from virnucpro_assets.vocabulary import EncoderKind


def expected_tokens(kind: EncoderKind, lengths: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """int64 [n]: the tokens of sequences of the given lengths, the two special ones included.

    Exact for proteins (a token a residue). For DNA, whose tokens are known only after
    tokenising, an estimate that serves to cut parts.
    """
    return -(-lengths.astype(np.int64) // ENCODERS[kind].letters_per_token) + 2


def tokens_of_rows(kind: EncoderKind, index: SequenceIndex) -> npt.NDArray[np.int64]:
    """int64 [rows]: the expected tokens of what an encoder reads of each row."""
    return expected_tokens(kind, ENCODERS[kind].lengths(index))


def expected_flops(encoder: EncoderChoice, tokens: npt.NDArray[np.int64]) -> int:
    """The operations that an encoder takes for sequences with the given numbers of tokens."""
    return count_flops(read_config(encoder.folder), tokens).total


def plan_packs(tokens: npt.NDArray[np.int64], token_budget: int) -> list[tuple[int, int]]:
    """Cut sequences with the given numbers of tokens into packs, as (start, stop) positions.

    Raises ValueError if one sequence alone is over the budget.
    """
    if len(tokens) and tokens.max() > token_budget:
        raise ValueError(
            f"a sequence of {counted(tokens.max(), 'token')} is over the token budget of {token_budget}"
        )
    ends = np.cumsum(tokens)
    bounds = [0]
    while bounds[-1] < len(tokens):
        used = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(int(np.searchsorted(ends, used + token_budget, side="right")))
    return list(pairwise(bounds))


def plan_parts(
    tokens: npt.NDArray[np.int64], rank: int, token_budget: int, packs_per_part: int
) -> list[PartPlan]:
    """Cut the rows of a rank, with the given expected tokens, into parts of `packs_per_part` packs."""
    packs = plan_packs(np.minimum(tokens, token_budget), token_budget)
    groups = [packs[first : first + packs_per_part] for first in range(0, len(packs), packs_per_part)]
    return [PartPlan(rank, number, group[0][0], group[-1][1]) for number, group in enumerate(groups)]
