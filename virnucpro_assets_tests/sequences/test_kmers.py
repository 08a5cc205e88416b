"""k-mers of both strands, against the definition letter by letter."""

import numpy as np
import pytest

from virnucpro_assets.sequences.kmers import canonical_kmers
from virnucpro_assets.sequences.ragged import Ragged

COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def number(kmer: bytes) -> int:
    return int("".join(str(b"ACGT".index(letter)) for letter in kmer), 4)


def by_definition(sequences: list[bytes], k: int) -> list[tuple[int, int]]:
    found = []
    for owner, letters in enumerate(sequences):
        upper = letters.upper()
        for start in range(len(upper) - k + 1):
            kmer = upper[start : start + k]
            if set(kmer) <= set(b"ACGT"):
                found.append((min(number(kmer), number(kmer.translate(COMPLEMENT)[::-1])), owner))
    return found


@pytest.mark.parametrize("k", [3, 31])
def test_every_kmer_of_every_sequence_counts_once_on_the_strand_that_comes_first(k):
    random = np.random.default_rng(2)
    sequences = [random.choice(list(b"ACGTNacgt"), n).astype(np.uint8).tobytes() for n in (0, 2, 40, 31, 90)]
    sequences.append(b"ACGT" * 20)
    kmers, owner = canonical_kmers(Ragged.from_strings(sequences), k)
    assert list(zip(kmers.tolist(), owner.tolist(), strict=True)) == by_definition(sequences, k)


def test_a_sequence_and_its_reverse_complement_have_the_same_kmers():
    letters = np.random.default_rng(4).choice(list(b"ACGT"), 100).astype(np.uint8).tobytes()
    kmers, owner = canonical_kmers(Ragged.from_strings([letters, letters.translate(COMPLEMENT)[::-1]]))
    assert sorted(kmers[owner == 0].tolist()) == sorted(kmers[owner == 1].tolist())
    assert (owner == 0).sum() == 70


def test_sequences_shorter_than_a_kmer_have_none():
    kmers, owner = canonical_kmers(Ragged.from_strings([b"ACGT", b""]))
    assert (len(kmers), len(owner)) == (0, 0)
