"""What is particular to each encoder, for all code that does not compute with it. No torch here.

A new encoder is an `EncoderSpec` here, a config in `configs.py` and a module with its model and loader, which
`loading.py` lists. The order of the encoders in a merged row is that of `vocabulary.ENCODER_KINDS`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import EncoderKind

if TYPE_CHECKING:
    # Importing the index takes pyarrow, and the settings import this module.
    from virnucpro_assets.sequences.index import RowBatch, SequenceIndex

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder: its input, its tokens, and what the published classifiers were trained with."""

    column: Literal["nucleotides", "proteins"]
    """The column of the index that it reads."""
    molecule: str
    letters_per_token: int
    """An estimate that plans of packs use: never more letters than a token spans on average."""
    excluded_special_tokens: int
    """How many tokens at either end of a sequence its mean leaves out."""
    has_attention_bias: bool
    gpu_token_budget: int
    """Tokens of a pack on a GPU. More makes no encoder faster by more than a few percent (docs/performance.md)."""
    extra_files: tuple[str, ...]
    """Files of its model folder beside config and weights."""
    classifier_model: str
    """The published model whose embeddings VirNucPro's own classifiers were trained on, and its width."""
    classifier_width: int

    def sequences(self, batch: "RowBatch") -> Ragged:
        """What it reads of some rows."""
        return batch.nucleotides if self.column == "nucleotides" else batch.proteins

    def lengths(self, index: "SequenceIndex") -> npt.NDArray[np.int32]:
        """int32 [rows]: the letters of what it reads of each row."""
        return index.nucleotide_lengths() if self.column == "nucleotides" else index.protein_lengths()


ENCODERS: dict[EncoderKind, EncoderSpec] = {
    "dnabert_s": EncoderSpec(
        column="nucleotides",
        molecule="DNA",
        # A byte pair token of its vocabulary spans about 5 bases.
        letters_per_token=4,
        excluded_special_tokens=0,
        has_attention_bias=True,
        gpu_token_budget=65536,
        extra_files=(TOKENIZER_FILE,),
        classifier_model="DNABERT-S",
        classifier_width=768,
    ),
    "esm2": EncoderSpec(
        column="proteins",
        molecule="protein",
        letters_per_token=1,
        excluded_special_tokens=1,
        has_attention_bias=False,
        gpu_token_budget=32768,
        extra_files=(),
        classifier_model="esm2_t36_3B_UR50D",
        classifier_width=2560,
    ),
}
