"""The shapes of the encoders, as a model folder's config.json gives them. No torch here.

Field names are those of the published config files, so that such a file is read as it is; keys that do not affect the
computation are ignored. Each config also gives the shapes of its matrices, from which `sizes.py` computes memory and
operations.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from virnucpro_assets.vocabulary import EncoderKind

_ESM2_VOCABULARY, _ESM2_MLP_FACTOR = 33, 4


class EncoderConfig(BaseModel, ABC):
    """What all encoders have: layers, width and heads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    num_hidden_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"width {self.hidden_size} cannot be shared by {self.num_attention_heads} heads")
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
