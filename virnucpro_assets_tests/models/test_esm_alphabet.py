"""The protein tokeniser against fair-esm's own alphabet."""

import numpy as np
from esm.data import Alphabet

from virnucpro_assets.models.tokenisers import LETTERS, TOKENS, tokenise_proteins
from virnucpro_assets.sequences.ragged import Ragged

REFERENCE = Alphabet.from_architecture("ESM-1b")


def test_tokens_stand_in_the_order_of_fair_esm() -> None:
    assert list(TOKENS) == REFERENCE.all_toks


def test_proteins_get_the_ids_that_fair_esm_gives_them() -> None:
    generator = np.random.default_rng(1)
    proteins = ["".join(generator.choice(list(LETTERS), n)) for n in (1, 2, 170, 1022, 3)]
    _, _, expected = REFERENCE.get_batch_converter()([("", protein) for protein in proteins])
    tokens = tokenise_proteins(Ragged.from_strings(protein.encode() for protein in proteins))
    assert tokens.lengths.tolist() == [3, 4, 172, 1024, 5]
    for row, (start, end) in enumerate(zip(tokens.offsets, tokens.offsets[1:], strict=False)):
        assert tokens.data[start:end].tolist() == expected[row, : end - start].tolist()


def test_a_byte_outside_the_alphabet_is_unknown() -> None:
    outside = bytes(byte for byte in range(256) if chr(byte) not in LETTERS)
    tokens = tokenise_proteins(Ragged.from_strings([outside]))
    assert set(tokens.data[1:-1].tolist()) == {REFERENCE.unk_idx}


def test_a_part_of_a_batch_is_tokenised_like_the_whole() -> None:
    whole = Ragged.from_strings([b"MKV", b"AC", b"WWWW"])
    part = Ragged(whole.data, whole.offsets[1:])
    assert (
        tokenise_proteins(part).data.tolist() == tokenise_proteins(whole).take(np.array([1, 2])).data.tolist()
    )


def test_no_proteins_give_no_tokens() -> None:
    tokens = tokenise_proteins(Ragged.from_strings([]))
    assert (len(tokens), len(tokens.data)) == (0, 0)


def test_an_empty_protein_has_the_two_special_tokens() -> None:
    tokens = tokenise_proteins(Ragged.from_strings([b"M", b"", b"", b"K"]))
    assert tokens.lengths.tolist() == [3, 2, 2, 3]
    assert tokens.data[3:7].tolist() == [REFERENCE.cls_idx, REFERENCE.eos_idx] * 2
