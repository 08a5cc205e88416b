"""Reads to embeddings with two encoders, for the demo's few thousand candidates.

Everything is held in memory, in one process: production goes through the index and the shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.frames import candidates_of
from virnucpro_assets.sequences.ragged import Ragged

TOKEN_BUDGET = 16_384


@dataclass(frozen=True, slots=True)
class EmbeddedReads:
    """Candidates of reads: `read` int64 [m] positions, `rows` float32 [m, d_dna + d_protein], DNA first."""

    read: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]


def embed_reads(bases: Ragged, chunk_length: int, dna: Encoder, protein: Encoder) -> EmbeddedReads:
    """The joined embeddings of every candidate of the reads `bases`."""
    candidates, _ = candidates_of(ReadBatch(0, [""] * len(bases), bases), chunk_length)
    parts = (embed(dna, candidates.nucleotides), embed(protein, candidates.proteins))
    return EmbeddedReads(candidates.read, np.concatenate(parts, axis=1))


def embed(encoder: Encoder, sequences: Ragged) -> npt.NDArray[np.float32]:
    """float32 [n, width]: each sequence's mean, computed longest first in packs of the token budget."""
    tokens = encoder.tokenise(sequences)
    order = np.argsort(-tokens.lengths, kind="stable")
    means = np.empty((len(sequences), encoder.width), np.float32)
    for some in _packs(order, tokens.lengths[order]):
        pack = TokenPack.from_tokens(tokens.take(some), encoder.device)
        means[some] = encoder.embed(pack).cpu().numpy()
    return means


def read_scores(
    count: int, read: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """float64 [count]: largest P(virus) minus largest P(others) of each read's candidates.

    `read` int64 [m] says whose the rows of `scores` float32 [m, 2] are. NaN for a read without any.
    """
    best = largest_scores(count, read, scores)
    return best[:, 1] - best[:, 0]


def largest_scores(
    count: int, read: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """float64 [count, 2]: largest P(others) and P(virus) of each read's candidates; NaN for a read without any."""
    best = np.full((count, 2), np.nan)
    np.fmax.at(best, read, scores.astype(np.float64))
    return best


def _packs(order: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Sequence[npt.NDArray[np.int64]]:
    pack = (np.cumsum(lengths) - lengths) // TOKEN_BUDGET
    return np.split(order, np.flatnonzero(np.diff(pack)) + 1) if len(order) else []
