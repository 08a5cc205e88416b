"""DNABERT-S's own tokeniser: byte-pair pieces between [CLS] and [SEP], by the `tokenizers` library.

Truncation and padding in the file are switched off, since packs need neither. Its post-processor should add the special
tokens; if it has none, one is set here.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer
from tokenizers.processors import TemplateProcessing

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.folders import require_file
from virnucpro_assets.sequences.ragged import Ragged, Tokens

# The library uses some kilobytes per sequence, so batches are limited.
_SEQUENCES_AT_ONCE = 4096


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
