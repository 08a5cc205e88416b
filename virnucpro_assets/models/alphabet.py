"""The alphabet of ESM-2, and its tokeniser in numpy. No torch here.

The order is that of fair-esm's `Alphabet.from_architecture("ESM-1b")`: four special tokens, the
letters of `esm.constants.proteinseq_toks`, one filler that rounds the table to a multiple of
eight, and the mask.
"""

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.ragged import Ragged, Tokens, flat_positions

LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, "<null_1>", "<mask>")
CLS, EOS, UNKNOWN = TOKENS.index("<cls>"), TOKENS.index("<eos>"), TOKENS.index("<unk>")


def _letter_table() -> npt.NDArray[np.int32]:
    table = np.full(256, UNKNOWN, np.int32)
    for letter in LETTERS:
        table[ord(letter)] = TOKENS.index(letter)
    return table


_ID_OF_BYTE = _letter_table()


def tokenise_proteins(proteins: Ragged) -> Tokens:
    """`<cls>`, the residues, `<eos>` of each protein; a byte outside the alphabet is `<unk>`."""
    residues = proteins.lengths
    tokens = Tokens.from_lengths(np.empty(int(residues.sum()) + 2 * len(residues), np.int32), residues + 2)
    starts = tokens.offsets[:-1]
    tokens.ids[starts] = CLS
    tokens.ids[tokens.offsets[1:] - 1] = EOS
    source = flat_positions(proteins.offsets[:-1], residues)
    tokens.ids[flat_positions(starts + 1, residues)] = _ID_OF_BYTE[proteins.data[source]]
    return tokens
