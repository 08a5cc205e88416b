"""What is particular to each encoder, and where it is published, without the computing itself. No torch here.

A new encoder is an `EncoderSpec` here, a config in `configs.py` and a module with its model and loader, which
`loading.py` lists. The order of the encoders in a merged row is that of `vocabulary.ENCODER_KINDS`.

A commit of the hub determines the content of every file, so later fetches give the same files. The digests of published
models are those of weights files at these commits, as several public projects record them; without one, a file must
have the digest of the hub's own listing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from virnucpro_assets.models.configs import DnabertSConfig, EncoderConfig, Esm2Config
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
    description: str
    """What its embeddings are, for people."""
    letters_per_token: int
    """An estimate that plans of packs use: never more letters than a token spans on average."""
    excluded_special_tokens: int
    """How many tokens at either end of a sequence its mean leaves out."""
    has_attention_bias: bool
    gpu_token_budget: int
    """Tokens of a pack on a GPU. More makes no encoder faster by more than a few percent (docs/decisions.md)."""
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
        description="The nucleotides of each distinct stop-free frame as numbers by the language model DNABERT-S.",
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
        description="The protein of each distinct stop-free frame as numbers by the language model ESM-2.",
        letters_per_token=1,
        excluded_special_tokens=1,
        has_attention_bias=False,
        gpu_token_budget=32768,
        extra_files=(),
        classifier_model="esm2_t36_3B_UR50D",
        classifier_width=2560,
    ),
}


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One encoder as its authors publish it on the Hugging Face hub."""

    name: str
    repository: str
    revision: str
    licence: str
    config: EncoderConfig
    sha256: Mapping[str, str] = field(default_factory=dict)


def _esm2(name: str, shape: tuple[int, int, int], revision: str, sha256: str | None = None) -> PublishedModel:
    layers, width, heads = shape
    return PublishedModel(
        name=name,
        repository=f"facebook/{name}",
        revision=revision,
        licence="MIT",
        config=Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads),
        sha256={"model.safetensors": sha256} if sha256 else {},
    )


CATALOGUE: tuple[PublishedModel, ...] = (
    _esm2(
        "esm2_t6_8M_UR50D",
        (6, 320, 20),
        "c731040fcd8d73dceaa04b0a8e6329b345b0f5df",
        "24c5fa474c48f3b754b86efe752d5f189d2bcd88190fa2270fc92b2ef3034189",
    ),
    _esm2(
        "esm2_t12_35M_UR50D",
        (12, 480, 20),
        "6fbf070e65b0b7291e7bbcd451118c216cff79d8",
        "e35647818e0e064351d4531ed480d225a002567b4b2b93ad3a9246d753150fc0",
    ),
    _esm2(
        "esm2_t30_150M_UR50D",
        (30, 640, 20),
        "a695f6045e2e32885fa60af20c13cb35398ce30c",
        "c3f1da8aea53bddd32c246c86168c23b9fd72341fb9db9a94436f855f5053566",
    ),
    _esm2(
        "esm2_t33_650M_UR50D",
        (33, 1280, 20),
        "08e4846e537177426273712802403f7ba8261b6c",
        "a08adabb949fa67ad3c14b509d04fd60368b35007b0095e3358f81200c4f4db0",
    ),
    _esm2("esm2_t36_3B_UR50D", (36, 2560, 40), "476b639933c8baad5ad09a60ac1a87f987b656fc"),
    _esm2("esm2_t48_15B_UR50D", (48, 5120, 40), "5fbca39631164edc1d402a5aa369f982f72ee282"),
    PublishedModel(
        name="DNABERT-S",
        repository="zhihan1996/DNABERT-S",
        revision="00e47f96cdea35e4b6f5df89e5419cbe47d490c6",
        licence="Apache-2.0",
        config=DnabertSConfig(
            num_hidden_layers=12,
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=3072,
            vocab_size=4096,
        ),
        sha256={
            "pytorch_model.bin": "f3cfc3d0541859df64759e758cc4bc40fe1d5760799a7d098a9f9f09501c1e5f",
            "tokenizer.json": "667f5a0e6e9630f7052b004784dda7c7aeba395cc4ca3c01b11b02e6aa29d7b1",
        },
    ),
)


def published_model(name: str) -> PublishedModel | None:
    """The published model of this name or this repository."""
    return next((model for model in CATALOGUE if name in {model.name, model.repository}), None)


def model_of_shape(config: EncoderConfig) -> PublishedModel | None:
    """The published model of this shape; models that others trained may have the same shape."""
    return next((model for model in CATALOGUE if model.config == config), None)
