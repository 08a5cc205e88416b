"""The recipe of embeddings: everything that determines their values.

Files may be merged, and a run may resume another one, only if their recipes are equal. The digest of the recipe is this
identity; the orchestrator shows it as the data version.
"""

import hashlib
import json
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

ENGINE_FORMAT = 4
"""To be increased by one with every change of the code that may change stored results."""


class Recipe(BaseModel):
    """What made the embeddings of one encoder for one drop.

    With `cached` rows may come from the embedding cache: they were computed in other packs, so their last bits may
    differ. The field is stored only if it is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderKind
    index_digest: str
    weights_digest: str
    precision: Precision
    attention: Attention
    fused: bool = False
    token_budget: int
    packs_per_part: int
    ranks: int
    cached: bool = Field(False, exclude_if=lambda cached: not cached)
    engine_format: int = ENGINE_FORMAT

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the fields in the order of their names, in hexadecimal."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """The fields in which `other` differs, each as `name: ours, theirs`."""
        both = {name: (getattr(self, name), getattr(other, name)) for name in type(self).model_fields}
        return [f"{name} {ours} is now {theirs}" for name, (ours, theirs) in both.items() if ours != theirs]
