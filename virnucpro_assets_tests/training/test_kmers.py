"""k-mers of both strands, against the definition letter by letter."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.training.leakage import canonical_kmers

COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def number(kmer: bytes) -> int:
    return int("".join(str(b"ACGT".index(letter)) for letter in kmer), 4)


def strand(letters: bytes) -> bytes:
    return letters.translate(COMPLEMENT)[::-1]


def by_definition(sequences: list[bytes], k: int) -> list[tuple[int, int]]:
    found = []
    for owner, letters in enumerate(sequences):
        upper = letters.upper()
        for start in range(len(upper) - k + 1):
            kmer = upper[start : start + k]
            if set(kmer) <= set(b"ACGT"):
                found.append((min(number(kmer), number(strand(kmer))), owner))
    return found


@given(st.lists(st.text("ACGTacgtN", max_size=90).map(str.encode)), st.sampled_from([1, 3, 31]))
@example([b"ACGT" * 20, b"A" * 31, b"C" * 30], 31)
def test_every_kmer_of_every_sequence_counts_once_on_the_strand_that_comes_first(
    sequences: list[bytes], k: int
) -> None:
    kmers, owner = canonical_kmers(Ragged.from_strings(sequences), k)
    assert list(zip(kmers.tolist(), owner.tolist(), strict=True)) == by_definition(sequences, k)


def test_kmers_have_31_bases_and_are_the_same_on_both_strands() -> None:
    letters = np.random.default_rng(4).choice(list(b"ACGT"), 100).astype(np.uint8).tobytes()
    kmers, owner = canonical_kmers(Ragged.from_strings([letters, strand(letters)]))
    assert sorted(kmers[owner == 0].tolist()) == sorted(kmers[owner == 1].tolist())
    assert (owner == 0).sum() == 70
