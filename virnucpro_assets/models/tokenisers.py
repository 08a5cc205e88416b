"""The tokenisers of the encoders: ESM-2's in numpy, DNABERT-S's by the `tokenizers` library. No torch here.

The alphabet of ESM-2 has the order of fair-esm's `Alphabet.from_architecture("ESM-1b")`: four special tokens, the
letters of `esm.constants.proteinseq_toks`, one filler that rounds the table to a multiple of eight, and the mask.

DNABERT-S has byte-pair pieces between [CLS] and [SEP]. Truncation and padding in its file are switched off, since packs
need neither. Its post-processor should add the special tokens; if it has none, one is set here.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer
from tokenizers.processors import TemplateProcessing

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.folders import require_file
from virnucpro_assets.sequences.ragged import Ragged, Tokens, flat_positions

LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, "<null_1>", "<mask>")
CLS, EOS, UNKNOWN = TOKENS.index("<cls>"), TOKENS.index("<eos>"), TOKENS.index("<unk>")

# The library uses some kilobytes per sequence, so batches are limited.
_SEQUENCES_AT_ONCE = 4096


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
    tokens.data[starts] = CLS
    tokens.data[tokens.offsets[1:] - 1] = EOS
    source = flat_positions(proteins.offsets[:-1], residues)
    tokens.data[flat_positions(starts + 1, residues)] = _ID_OF_BYTE[proteins.data[source]]
    return tokens


class DnaTokenizer:
    """The tokeniser in a tokenizer.json; it is called with a batch of sequences."""

    def __init__(self, path: Path, *, vocabulary: int) -> None:
        """Read `path`; raise IntegrityError unless its ids fit a `vocabulary` of that size."""
        self._tokenizer = _read(path)
        if (size := _largest_id(self._tokenizer) + 1) > vocabulary:
            raise IntegrityError(
                path,
                found=f"token ids up to {size - 1}",
                expected=f"ids below {vocabulary}, the size of the model's vocabulary",
                advice="Use the tokeniser and the weights of one model.",
            )
        _ensure_special_tokens(self._tokenizer, path)

    def __call__(self, sequences: Ragged) -> Tokens:
        """Token ids of each sequence, [CLS] first and [SEP] last. Letters are not changed."""
        pieces: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
        lengths: list[int] = []
        for first in range(0, len(sequences), _SEQUENCES_AT_ONCE):
            last = min(first + _SEQUENCES_AT_ONCE, len(sequences))
            texts = [sequences[index].decode("ascii") for index in range(first, last)]
            encodings: list[Encoding] = self._tokenizer.encode_batch_fast(texts)
            ids = [encoding.ids for encoding in encodings]
            lengths += map(len, ids)
            pieces.append(np.concatenate(ids, dtype=np.int32, casting="unsafe"))
        return Tokens.from_lengths(np.concatenate(pieces), np.array(lengths, np.int64))


def _read(path: Path) -> Tokenizer:
    require_file(path)
    content = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except ValueError as error:
        raise IntegrityError(
            path, found=excerpt(error), expected="a tokenizer.json", advice="Fetch the model again."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _largest_id(tokenizer: Tokenizer) -> int:
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def _ensure_special_tokens(tokenizer: Tokenizer, path: Path) -> None:
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if start is None or end is None:
        raise IntegrityError(
            path,
            found="no [CLS] or no [SEP]",
            expected="both in the vocabulary",
            advice="Fetch the model again.",
        )
    if tokenizer.post_processor is None:
        tokenizer.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", start), ("[SEP]", end)]
        )
    if (added := tokenizer.encode("").ids) != [start, end]:
        raise IntegrityError(
            path,
            found=f"a post-processor that adds the tokens {added} to a sequence",
            expected=f"[CLS] and [SEP], {[start, end]}",
            advice="Fetch the model again.",
        )
