"""What the pool and a device process say to each other: one JSON object a line.

The pool sends tasks. The process answers `Ready` once, then for every task any number of
`Advanced` and one `Finished` or `Failed`, tasks in the order in which they came.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from virnucpro_assets.storage.parts import PartPlan, PartRecord
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.vocabulary import EncoderKind, Precision


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderChoice(_Message):
    """An encoder by its folder, the digest that this had when it was chosen, and the precision."""

    kind: EncoderKind
    folder: Path
    digest: str
    width: int
    precision: Precision


class PartTask(_Message):
    """Embed the rows of one part and write it to `target`."""

    type: Literal["part"] = "part"
    encoder: EncoderChoice
    index: Path
    plan: PartPlan
    recipe: Recipe
    target: Path

    @property
    def label(self) -> str:
        return f"{self.encoder.kind} rank {self.plan.rank} part {self.plan.number}"


class SampleTask(_Message):
    """Embed chosen rows of an index and write them to `target` as a NumPy array.

    With `one_at_a_time` every sequence is a pack of its own.
    """

    type: Literal["sample"] = "sample"
    encoder: EncoderChoice
    index: Path
    index_digest: str
    rows: list[int]
    token_budget: int
    one_at_a_time: bool
    target: Path

    @property
    def label(self) -> str:
        return f"{self.encoder.kind} sample of {len(self.rows)} rows in {self.encoder.precision}"


Task = Annotated[PartTask | SampleTask, Field(discriminator="type")]


class Ready(_Message):
    """The process runs and owns its device."""

    type: Literal["ready"] = "ready"
    device: str


class Advanced(_Message):
    """A pack went through."""

    type: Literal["advanced"] = "advanced"
    sequences: int
    tokens: int


class Finished(_Message):
    """The task is done; `seconds` is the time since it began, `part` what was written."""

    type: Literal["finished"] = "finished"
    seconds: float
    part: PartRecord | None = None


class Failed(_Message):
    """The task cannot be done: `rows` of the index gave NaN or Inf, or what `reason` says."""

    type: Literal["failed"] = "failed"
    reason: str
    rows: list[int] = []


Reply = Annotated[Ready | Advanced | Finished | Failed, Field(discriminator="type")]

TASKS: TypeAdapter[PartTask | SampleTask] = TypeAdapter(Task)
REPLIES: TypeAdapter[Ready | Advanced | Finished | Failed] = TypeAdapter(Reply)
