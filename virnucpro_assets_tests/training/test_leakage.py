"""Rows that a later split holds already are found, identical or nearly so, on either strand."""

import numpy as np
import pytest

from virnucpro_assets.sequences.index import RowBatch
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.training.leakage import Seen

COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
GENOME = np.random.default_rng(8).choice(list(b"ACGT"), 2000).astype(np.uint8).tobytes()


def batch(*pairs: tuple[bytes, bytes]) -> RowBatch:
    return RowBatch(
        np.arange(len(pairs)),
        proteins=Ragged.from_strings(protein for protein, _ in pairs),
        nucleotides=Ragged.from_strings(letters for _, letters in pairs),
    )


@pytest.fixture
def seen() -> Seen:
    seen = Seen()
    seen.add(batch((b"MKV", GENOME[:300]), (b"MLLL", GENOME[300:600])))
    seen.add(batch((b"MAAA", GENOME[1000:1300])))
    seen.settle()
    return seen


def test_the_same_nucleotides_or_the_same_protein_are_identical(seen: Seen):
    asked = batch((b"MQ", GENOME[300:600]), (b"MAAA", GENOME[700:900]), (b"MQQ", GENOME[700:900]))
    assert seen.identical(asked).tolist() == [True, True, False]


def test_the_share_of_kmers_says_how_much_of_a_row_is_known(seen: Seen):
    overlapping = GENOME[500:800]
    asked = batch(
        (b"A", GENOME[10:280]),
        (b"B", overlapping),
        (b"C", overlapping.translate(COMPLEMENT)[::-1]),
        (b"D", GENOME[700:1000]),
        (b"E", b"ACGT"),
    )
    # Of the 270 31-mers of 500..800 those that end within 600 are known: 70.
    assert seen.shared(asked) == pytest.approx([1.0, 70 / 270, 70 / 270, 0.0, 0.0])


def test_what_is_added_later_is_held_beside_what_was(seen: Seen):
    seen.add(batch((b"MZ", GENOME[1500:1800])))
    seen.settle()
    asked = batch((b"A", GENOME[1500:1800]), (b"B", GENOME[:300]))
    assert seen.identical(asked).tolist() == [True, True]
    assert seen.shared(asked).tolist() == [1.0, 1.0]


def test_before_the_first_split_nothing_is_known():
    seen = Seen()
    seen.settle()
    assert seen.identical(batch((b"M", GENOME[:100]))).tolist() == [False]
    assert seen.shared(batch((b"M", GENOME[:100]))).tolist() == [0.0]
