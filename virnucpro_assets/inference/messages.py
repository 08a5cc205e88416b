"""The messages between the pool and a device process: one JSON object a line.

The pool sends orders: a task under a number. The process sends `Waiting` while another process
owns its device, `Ready` once it owns it, and `Alive` every few seconds whatever it is doing.
For every order it sends `Began` once, `PackStarted` and `PackDone` for the packs, and in the end one
`Finished` or `Failed`. An order may begin while the one before it is still being written.
"""

import threading
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from virnucpro_assets.errors import counted
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.storage.embedding_cache import EmbeddingCache
from virnucpro_assets.storage.parts import PartPlan, PartRecord
from virnucpro_assets.storage.provenance import QuarantinedRow, Recipe
from virnucpro_assets.vocabulary import EncoderKind


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


PartKey = tuple[EncoderKind, int, int]
"""A part by its encoder, rank and number."""


class PartTask(_Message):
    """Embed the rows of one part and write it to `target`.

    Rows that are `quarantined` already are left out. Packs are cut to `token_limit` where it is
    set. With `announced` the rows of each pack are named before it is computed. `peak_flops` is the
    peak rate of the device; the process measures it where it is not known. Rows that `cache` holds are
    taken from it. `next_encoder` is the one that later tasks need: a GPU with enough memory loads it meanwhile.
    """

    type: Literal["part"] = "part"
    encoder: EncoderChoice
    index: Path
    plan: PartPlan
    recipe: Recipe
    target: Path
    quarantined: list[QuarantinedRow] = []
    token_limit: int | None = None
    announced: bool = False
    peak_flops: float | None = None
    cache: EmbeddingCache | None = None
    next_encoder: EncoderChoice | None = None

    @property
    def key(self) -> PartKey:
        return self.encoder.kind, self.plan.rank, self.plan.number

    @property
    def label(self) -> str:
        return f"{self.encoder.kind} rank {self.plan.rank} part {self.plan.number}"


class ProbeTask(_Message):
    """Embed chosen rows of an index in one pack and keep nothing: does the process survive it?

    `part` is the part whose process did not.
    """

    type: Literal["probe"] = "probe"
    encoder: EncoderChoice
    index: Path
    index_digest: str
    part: PartKey
    rows: list[int]

    @property
    def label(self) -> str:
        return f"{self.encoder.kind} probe of {counted(len(self.rows), 'row')}"


class SampleTask(_Message):
    """Embed chosen rows of an index and write them to `target` as a NumPy array.

    With `one_at_a_time` every sequence is a pack of its own. `next_encoder` as in PartTask.
    """

    type: Literal["sample"] = "sample"
    encoder: EncoderChoice
    index: Path
    index_digest: str
    rows: list[int]
    token_budget: int
    one_at_a_time: bool
    target: Path
    next_encoder: EncoderChoice | None = None

    @property
    def label(self) -> str:
        return f"{self.encoder.kind} sample of {counted(len(self.rows), 'row')} in {self.encoder.precision}"


Task = Annotated[PartTask | ProbeTask | SampleTask, Field(discriminator="type")]


class Order(_Message):
    """A task and the number under which its replies come."""

    number: int
    task: Task


class Waiting(_Message):
    """Another process owns the device; `reason` names it."""

    type: Literal["waiting"] = "waiting"
    reason: str


class Refused(_Message):
    """Another process owns the device, and the options say not to wait for it."""

    type: Literal["refused"] = "refused"
    reason: str


class Ready(_Message):
    """The process owns its device and takes orders."""

    type: Literal["ready"] = "ready"


class Alive(_Message):
    """The process runs; this is no sign of progress."""

    type: Literal["alive"] = "alive"


class Began(_Message):
    """The order is in work."""

    type: Literal["began"] = "began"
    number: int


class PackStarted(_Message):
    """A pack with these rows of the index goes through the model next."""

    type: Literal["pack_started"] = "pack_started"
    number: int
    rows: list[int]


class PackDone(_Message):
    """A pack went through."""

    type: Literal["pack_done"] = "pack_done"
    number: int
    sequences: int
    tokens: int


class Finished(_Message):
    """The task is done.

    `seconds` is the time it was computed in, and `loading_seconds` what loading models took of it. The device
    stood still for `input_stall_seconds` because the sequences were not there yet, and for
    `output_stall_seconds` because the part before was not yet on the disk. `part` is what was written. Of a part,
    `flops` operations were computed on a device with a peak of `peak_flops` a second, and the process has held
    `peak_memory` bytes of it at most. `warnings` are lines for people.
    """

    type: Literal["finished"] = "finished"
    number: int
    seconds: float
    loading_seconds: float = 0.0
    input_stall_seconds: float = 0.0
    output_stall_seconds: float = 0.0
    flops: int = 0
    peak_flops: float = 0.0
    peak_memory: int = 0
    part: PartRecord | None = None
    warnings: list[str] = []


class Failed(_Message):
    """The task cannot be done, for `reason`.

    With `storage` the disk failed: all other tasks of the job would fail as well.
    """

    type: Literal["failed"] = "failed"
    number: int
    reason: str
    storage: bool = False


Reply = Annotated[
    Waiting | Refused | Ready | Alive | Began | PackStarted | PackDone | Finished | Failed,
    Field(discriminator="type"),
]

ORDERS: TypeAdapter[Order] = TypeAdapter(Order)
REPLIES: TypeAdapter[Reply] = TypeAdapter(Reply)

HEARTBEAT_SECONDS = 2.0


class Replies:
    """Sends replies from any thread, each in one piece."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: BaseModel) -> None:
        """Write one line to the pool; BrokenPipeError if the pool has closed the pipe."""
        line = memoryview(message.model_dump_json().encode() + b"\n")
        with self._lock:
            while line:
                line = line[self._stream.write(line) :]

    def beat(self) -> None:
        """Send `Alive` every few seconds until the process ends."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(HEARTBEAT_SECONDS):
            try:
                self.send(Alive())
            except BrokenPipeError:
                return
