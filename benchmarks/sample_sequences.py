"""Candidates of real reads, in two mixtures of lengths."""

from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.demo_reads import demo_reads
from virnucpro_assets.sequences.batches import CandidateBatch, ReadBatch
from virnucpro_assets.sequences.frames import candidates_of
from virnucpro_assets.sequences.ragged import Ragged

Mixture = Literal["reads of 150", "60 to 500"]

MIXTURES: dict[Mixture, tuple[int, int]] = {"reads of 150": (150, 150), "60 to 500": (60, 500)}
"""The shortest and the longest read of each, in bases; every length between is as frequent."""

READS = 20_000
CHUNK_LENGTH = 500


def candidates_in(mixture: Mixture) -> CandidateBatch:
    """The candidates of READS reads; the same at every call."""
    shortest, longest = MIXTURES[mixture]
    random = np.random.default_rng(5)
    lengths = random.integers(shortest, longest + 1, READS)
    rows = chain.from_iterable(demo_reads(READS, longest))
    bases = Ragged.from_strings(row[:length].tobytes() for row, length in zip(rows, lengths, strict=True))
    return candidates_of(ReadBatch(0, [str(number) for number in range(READS)], bases), CHUNK_LENGTH)[0]


def sample_of(lengths: npt.NDArray[np.int64], tokens: int) -> npt.NDArray[np.int64]:
    """Positions of sequences with about `tokens` tokens, evenly spaced in the order of their lengths.

    `lengths` are the tokens of each sequence. The sample is a small drop with the mixture's lengths.
    """
    order = np.argsort(-lengths, kind="stable")
    wanted = max(1, round(tokens / float(lengths.mean())))
    return order[np.linspace(0, len(order) - 1, wanted).round().astype(np.int64)]
