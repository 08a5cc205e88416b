"""Reads cut from excerpts at random, the same ones for the same seed.

A read begins anywhere in an excerpt, lies on either strand with equal chance and has no
sequencing errors. Excerpts give reads in proportion to their length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.demo.excerpts import Excerpt
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import LABELS, Label

_COMPLEMENT = bytes.maketrans(b"ACGTRYKMBVDH", b"TGCAYRMKVBHD")


@dataclass(frozen=True, slots=True)
class Read:
    """A read and where it comes from: `start` counts from 0 in the source, on the forward strand."""

    source: str
    label: Label
    start: int
    strand: str
    bases: bytes


def sample_reads(
    excerpts: Sequence[Excerpt], label: Label, lengths: npt.NDArray[np.int64], random: np.random.Generator
) -> list[Read]:
    """One read of `label` for each of `lengths` int64 [n], in bases."""
    candidates = [excerpt for excerpt in excerpts if excerpt.label == label]
    sizes = np.array([len(excerpt.letters) for excerpt in candidates])
    reads = []
    for length in lengths.tolist():
        weights = np.where(sizes >= length, sizes, 0)
        excerpt = candidates[int(random.choice(len(candidates), p=weights / weights.sum()))]
        start = int(random.integers(len(excerpt.letters) - length + 1))
        reads.append(cut_read(excerpt, start, length, "+-"[int(random.integers(2))]))
    return reads


def cut_read(excerpt: Excerpt, start: int, length: int, strand: str) -> Read:
    """The read of `length` bases that begins at base `start` of the excerpt; `strand` is + or -."""
    bases = excerpt.letters[start : start + length].encode("ascii")
    if strand == "-":
        bases = bases.translate(_COMPLEMENT)[::-1]
    return Read(excerpt.source, excerpt.label, excerpt.start + start, strand, bases)


def labelled_reads(
    excerpts: Sequence[Excerpt], per_label: int, shortest: int, longest: int, seed: int
) -> list[Read]:
    """`per_label` reads of each label, half of them `longest` bases, half of any length from `shortest`."""
    random = np.random.default_rng(seed)
    reads = []
    for label in LABELS:
        lengths = random.integers(shortest, longest + 1, per_label)
        lengths[::2] = longest
        reads += sample_reads(excerpts, label, lengths, random)
    return reads


def bases_of(reads: Sequence[Read]) -> Ragged:
    """The reads' letters, in their order."""
    return Ragged.from_strings(read.bases for read in reads)


def is_virus(reads: Sequence[Read]) -> npt.NDArray[np.bool_]:
    """bool [n]: which of the reads come from a virus."""
    return np.array([read.label == "virus" for read in reads], np.bool_)
