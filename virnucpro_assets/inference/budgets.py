"""Token budgets: which sizes are tried, on what sequences, and which size is chosen. No torch here.

The sequences imitate a part of a drop. Chunks of a read are all of the full length, whatever the
read's, and so their frames have two or three lengths; only reads shorter than a chunk bring
others. So three quarters of the sequences have the length of a full chunk's frame, and the rest
any length from half of it. How many lengths lie in one pack decides what a small pack costs,
because dense attention is launched once for each; it depends on how large a part is, and
`pack_sample` cuts a whole part and takes packs from all over it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from virnucpro_assets.inference.plans import plan_packs
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.token_budgets import SizeRate
from virnucpro_assets.vocabulary import EncoderKind

SIZES = (4096, 8192, 16384, 32768, 65536, 131072)
"""Tokens of a pack, each twice as many as the one before."""

MARGIN = 0.05
"""A larger size must be faster by more than this share: two rates of one size differ by a few percent."""

SEQUENCES = 2048
_FULL_SHARE = 0.75
_RESIDUES = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
_BASES = np.frombuffer(b"ACGT", np.uint8)
_CODON = 3

Positions = npt.NDArray[np.int64]


def choose_budget(rates: Sequence[SizeRate]) -> int:
    """The smallest size that no larger one beats by more than MARGIN.

    Sizes that did not fit are left out; where none did, the smallest is chosen, whose packs are split when
    the memory of the device is too small. Raises ValueError if nothing was tried.
    """
    chosen = min(rates, key=lambda rate: rate.tokens)
    best = chosen.tokens_per_second or 0.0
    for rate in sorted(rates, key=lambda rate: rate.tokens):
        if rate.tokens_per_second is not None and rate.tokens_per_second > best * (1 + MARGIN):
            chosen, best = rate, rate.tokens_per_second
    return chosen.tokens


def imitated_sequences(kind: EncoderKind, chunk_length: int) -> Ragged:
    """SEQUENCES random sequences with the lengths of frames of chunks: proteins, or nucleotides for DNABERT-S.

    The same for the same arguments, on every machine.
    """
    generator = np.random.default_rng(0)
    full = chunk_length // _CODON
    # Frame 1 of 300 bases has 100 residues, the others 99.
    lengths = full - generator.integers(0, 2, SEQUENCES)
    short = generator.random(SEQUENCES) > _FULL_SHARE
    lengths[short] = generator.integers(full // 2, full, int(short.sum()))
    if kind == "dnabert_s":
        lengths, letters = lengths * _CODON, _BASES
    else:
        letters = _RESIDUES
    return Ragged.from_lengths(generator.choice(letters, int(lengths.sum())), lengths)


def pack_sample(lengths: npt.NDArray[np.int64], budget: int, packs_per_part: int, packs: int) -> Positions:
    """Positions, longest first, of the sequences in `packs` packs from all over a part of `packs_per_part`.

    `lengths` int64 [n] are the tokens of some sequences; a part holds each of them about equally often, so
    positions repeat.
    """
    order = np.argsort(-lengths, kind="stable")
    times = -(-budget * packs_per_part // int(lengths.sum()))
    part = np.repeat(order, times)
    bounds = plan_packs(lengths[part], budget)
    # The last pack of a part is what is left over.
    whole = bounds[:-1] or bounds
    chosen = np.linspace(0, len(whole) - 1, min(packs, len(whole))).round().astype(int)
    return np.concatenate([part[whole[place][0] : whole[place][1]] for place in chosen])
