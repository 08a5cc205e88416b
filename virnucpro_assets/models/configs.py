"""The shapes of the encoders, as in config.json, and the memory and operations that follow from them. No torch here.

Field names are those of the published config files, so that such a file is read as it is; keys that do not affect the
computation are ignored.

A product of [n, k] with [k, m] counts 2 · n · k · m operations. Counted are the matrices of the layers and the two
products of attention inside each sequence; norms, activations, rotations, softmax and means are left out, as is usual
where a rate is compared with that of matrix products.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from virnucpro_assets.errors import counted
from virnucpro_assets.vocabulary import EncoderKind, Precision

_ESM2_VOCABULARY, _ESM2_MLP_FACTOR = 33, 4
_BYTES_OF_NUMBER: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


class EncoderConfig(BaseModel, ABC):
    """What all encoders have: layers, width and heads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"width {self.hidden_size} cannot be shared by {counted(self.num_attention_heads, 'head')}"
            )
        return self

    @property
    def head_width(self) -> int:
        """How many numbers of the width one head owns."""
        return self.hidden_size // self.num_attention_heads

    @property
    @abstractmethod
    def kind(self) -> EncoderKind:
        """The name of this encoder in the project."""

    @property
    @abstractmethod
    def matrix_shapes(self) -> tuple[tuple[int, int], ...]:
        """(columns in, columns out) of the products of one layer, in the order of computing."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers the encoder has, without heads that have no part in an embedding."""

    @property
    @abstractmethod
    def mlp_columns(self) -> int:
        """Columns of all that the MLP of a layer holds at once between its two products."""


class Esm2Config(EncoderConfig):
    """An ESM-2 of any published size, from (6, 320, 20) to (48, 5120, 40)."""

    model_type: Literal["esm2"] = "esm2"

    @property
    def kind(self) -> EncoderKind:
        """The name of this encoder in the project."""
        return "esm2"

    @property
    def matrix_shapes(self) -> tuple[tuple[int, int], ...]:
        """(columns in, columns out) of the products of one layer, in the order of computing."""
        width, inner = self.hidden_size, _ESM2_MLP_FACTOR * self.hidden_size
        return (width, 3 * width), (width, width), (width, inner), (inner, width)

    @property
    def parameters(self) -> int:
        """Attention 4 (w² + w), MLP 8 w² + 5 w, two norms 4 w; embedding and last norm beside the layers."""
        width = self.hidden_size
        return self.num_hidden_layers * (12 * width * width + 13 * width) + (_ESM2_VOCABULARY + 2) * width

    @property
    def mlp_columns(self) -> int:
        """The widened tokens before and after GELU."""
        return 2 * _ESM2_MLP_FACTOR * self.hidden_size

    @model_validator(mode="after")
    def _rotary_needs_pairs(self) -> Self:
        if self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}")
        return self


class DnabertSConfig(EncoderConfig):
    """DNABERT-S: a BERT with ALiBi and a gated MLP; published as (12, 768, 12)."""

    model_type: Literal["bert"] = "bert"
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    type_vocab_size: int = Field(default=2, ge=1)
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    hidden_act: Literal["gelu"] = "gelu"

    @property
    def kind(self) -> EncoderKind:
        """The name of this encoder in the project."""
        return "dnabert_s"

    @property
    def matrix_shapes(self) -> tuple[tuple[int, int], ...]:
        """(columns in, columns out) of the products of one layer, in the order of computing."""
        width, inner = self.hidden_size, self.intermediate_size
        return (width, 3 * width), (width, width), (width, 2 * inner), (inner, width)

    @property
    def parameters(self) -> int:
        """Attention 4 (w² + w), the gated MLP 3 w i + w, two norms 4 w; the embeddings beside the layers."""
        width, inner = self.hidden_size, self.intermediate_size
        layer = 4 * width * width + 3 * width * inner + 9 * width
        return self.num_hidden_layers * layer + (self.vocab_size + self.type_vocab_size + 2) * width

    @property
    def mlp_columns(self) -> int:
        """Gate and value before GELU, the gate after it, and their product."""
        return 4 * self.intermediate_size


ENCODER_CONFIG: TypeAdapter[Esm2Config | DnabertSConfig] = TypeAdapter(
    Annotated[Esm2Config | DnabertSConfig, Field(discriminator="model_type")]
)


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations in the matrices of the layers, and in attention."""

    matrices: int
    attention: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.attention


def flops_per_token(config: EncoderConfig) -> int:
    """Operations that the matrices of all layers spend on a token, whatever its sequence."""
    return config.num_hidden_layers * sum(2 * inner * outer for inner, outer in config.matrix_shapes)


def count_flops(config: EncoderConfig, lengths: npt.NDArray[np.int64]) -> Flops:
    """The operations for sequences of `lengths` int64 [n] tokens, special ones included.

    Scores and weighted values of a sequence of n tokens are 2 · n² · width operations each, in
    every layer, however many heads share the width.
    """
    squares = int((lengths * lengths).sum())
    return Flops(
        matrices=int(lengths.sum()) * flops_per_token(config),
        attention=4 * squares * config.hidden_size * config.num_hidden_layers,
    )


def weights_bytes(config: EncoderConfig, precision: Precision) -> int:
    """Bytes of the weights in a precision."""
    return config.parameters * _BYTES_OF_NUMBER[precision]


def pack_bytes(config: EncoderConfig, precision: Precision, tokens: int) -> int:
    """Bytes that one pack of `tokens` needs beside the weights, roughly: where a layer holds most.

    That is in its MLP: the tokens before it, its input, its output, and what it holds between its products.
    """
    return tokens * (3 * config.hidden_size + config.mlp_columns) * _BYTES_OF_NUMBER[precision]
