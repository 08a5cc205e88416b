"""The recipe of embeddings: everything that decides their values.

Two files may be joined, or one run may go on with another's work, only if their recipes are
equal. The digest of the recipe is that identity, and is also what the orchestrator shows as
the version of the data.
"""

import hashlib
import json
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

ENGINE_FORMAT = 3
"""Raised by one whenever a change of the code may change stored results."""


class Recipe(BaseModel):
    """What made the embeddings of one encoder for one drop."""

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
    engine_format: int = ENGINE_FORMAT

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the fields in the order of their names, in hexadecimal."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """The fields in which `other` differs, each as `name: ours, theirs`."""
        theirs = other.model_dump()
        return [
            f"{name} {value} is now {theirs[name]}"
            for name, value in self.model_dump().items()
            if value != theirs[name]
        ]
