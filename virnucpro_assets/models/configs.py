"""The shapes of the encoders, as a model folder's config.json gives them. No torch here.

Field names are those of the published config files, so that such a file is read as it is;
keys that do not bear on the computation are let through.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from virnucpro_assets.vocabulary import EncoderKind


class _Shape(BaseModel):
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


class Esm2Config(_Shape):
    """An ESM-2 of any published size, from (6, 320, 20) to (48, 5120, 40)."""

    model_type: Literal["esm2"] = "esm2"

    @property
    def kind(self) -> EncoderKind:
        """The word for this encoder in the project."""
        return "esm2"

    @model_validator(mode="after")
    def _rotary_needs_pairs(self) -> Self:
        if self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}")
        return self


class DnabertSConfig(_Shape):
    """DNABERT-S: a BERT with ALiBi and a gated MLP; published as (12, 768, 12)."""

    model_type: Literal["bert"] = "bert"
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    type_vocab_size: int = Field(default=2, ge=1)
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    hidden_act: Literal["gelu"] = "gelu"

    @property
    def kind(self) -> EncoderKind:
        """The word for this encoder in the project."""
        return "dnabert_s"


EncoderConfig = Annotated[Esm2Config | DnabertSConfig, Field(discriminator="model_type")]
ENCODER_CONFIG: TypeAdapter[Esm2Config | DnabertSConfig] = TypeAdapter(EncoderConfig)
