"""The input of a task: its sequences and their tokens, prepared while the device computes the task before.

A thread reads an order, opens the index, reads the rows and tokenises them. It is at most one task ahead. An error
is kept with the task and raised when the task is due.
"""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError, VirnucproError
from virnucpro_assets.inference.cache_hits import CacheHits, look_up
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.messages import ORDERS, Order, PartTask, Task
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.loading import Tokeniser, load_tokeniser
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.ragged import Ragged, Tokens
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import EmbeddingCache, cache_namespace
from virnucpro_assets.storage.parts import rows_of

_CHUNK = 1 << 16

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Input:
    """The sequences that a task computes, int64 [n] `rows` of the index, and their tokens.

    `hits` are the rows that a part need not compute.
    """

    rows: Rows
    sequences: Ragged
    tokens: Tokens
    hits: CacheHits | None = None


@dataclass(frozen=True)
class PreparedTask:
    """An order with its input, or with the error; both times are of the monotonic clock."""

    order: Order
    input: Input | Exception
    received: float
    prepared: float

    def waited_since(self, idle: float) -> float:
        """Seconds for which a device that was idle since then had an order and no input."""
        return max(0.0, self.prepared - max(idle, self.received))


class Inputs:
    """Makes the inputs of tasks, and keeps one index and one tokeniser for the next task."""

    def __init__(self) -> None:
        self._index: tuple[Path, SequenceIndex] | None = None
        self._tokeniser: tuple[EncoderChoice, Tokeniser] | None = None
        self._cached: tuple[EmbeddingCache, str, CachedRows] | None = None

    def of(self, task: Task) -> Input:
        """The input of a task.

        Raises IntegrityError if the index is not the one that the task was planned with.
        """
        if isinstance(task, PartTask):
            rows = rows_of(task.plan, task.recipe.ranks)
            index = self._open(task.index, task.recipe.index_digest)
            batch = index.rows(int(rows[0]), int(rows[-1]) + 1, task.recipe.ranks)
            sequences = ENCODERS[task.encoder.kind].sequences(batch)
            if task.cache is not None:
                return self._misses(task, rows, sequences, task.cache)
        else:
            rows = np.array(task.rows, np.int64)
            index = self._open(task.index, task.index_digest)
            spec = ENCODERS[task.encoder.kind]
            sequences = Ragged.from_strings(
                [spec.sequences(index.rows(row, row + 1))[0] for row in task.rows]
            )
        return Input(rows, sequences, self._tokenise(task.encoder, sequences))

    def _misses(self, task: PartTask, rows: Rows, sequences: Ragged, cache: EmbeddingCache) -> Input:
        """The input of a part without the rows that the cache gives."""
        namespace = cache_namespace(task.recipe)
        if self._cached is None or self._cached[:2] != (cache, namespace):
            self._cached = (cache, namespace, CachedRows(cache, namespace, task.encoder.width))
        left_out = {row.row for row in task.quarantined}
        hits, misses = look_up(self._cached[2], rows, sequences, left_out)
        sequences = sequences.take(misses)
        return Input(rows[misses], sequences, self._tokenise(task.encoder, sequences), hits)

    def _open(self, folder: Path, digest: str) -> SequenceIndex:
        if self._index is None or self._index[0] != folder or self._index[1].manifest.digest != digest:
            self._index = (folder, SequenceIndex.open(folder))
        if (found := self._index[1].manifest.digest) != digest:
            raise IntegrityError(
                folder,
                found=f"an index of digest {found}",
                expected=f"{digest}, as it was when the run began",
                advice="Start the run again once the index no longer changes.",
            )
        return self._index[1]

    def _tokenise(self, encoder: EncoderChoice, sequences: Ragged) -> Tokens:
        if self._tokeniser is None or self._tokeniser[0] != encoder:
            self._tokeniser = (encoder, load_tokeniser(encoder.folder))
        return self._tokeniser[1](sequences)


def prefetch(descriptor: int, inputs: Inputs) -> Iterator[PreparedTask]:
    """The orders that come in through a pipe, a line each, with their inputs, until it is closed."""
    made: Queue[PreparedTask | None] = Queue(maxsize=1)

    def make() -> None:
        try:
            for line in _lines(descriptor):
                made.put(_prepare(ORDERS.validate_json(line), inputs))
        finally:
            made.put(None)

    # A daemon, for it may be waiting for a line when the process ends of something else.
    threading.Thread(target=make, name="inputs", daemon=True).start()
    while (prepared := made.get()) is not None:
        yield prepared


def _prepare(order: Order, inputs: Inputs) -> PreparedTask:
    received = time.monotonic()
    made: Input | Exception
    try:
        made = inputs.of(order.task)
    except (VirnucproError, OSError) as error:
        made = error
    return PreparedTask(order, made, received, time.monotonic())


def _lines(descriptor: int) -> Iterator[bytes]:
    # Not through a buffered file: a thread that waits inside one holds its lock when the process ends.
    unread = b""
    while received := os.read(descriptor, _CHUNK):
        *lines, unread = (unread + received).split(b"\n")
        yield from lines
