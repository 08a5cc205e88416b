"""The worker inside a device process: orders in, parts and samples out.

The steps of a part: take its input, which was made while the part before was computed;
embed it pack by pack; embed again in float32 what came out as NaN or Inf; hand everything to the
writer and go on with the next order. What cannot be embedded even so is quarantined: it is listed
in the part by row and reason.
"""

import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.inference.cache_hits import write_and_keep
from virnucpro_assets.inference.embedding import (
    Embedded,
    PackCallbacks,
    Positions,
    embed_sequences,
    nothing_embedded,
)
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.inputs import Input, Inputs, prefetch
from virnucpro_assets.inference.loaded_encoders import LoadedEncoders
from virnucpro_assets.inference.messages import (
    Began,
    Failed,
    Finished,
    Order,
    PackDone,
    PackStarted,
    PartTask,
    ProbeTask,
    Ready,
    Replies,
    SampleTask,
    Task,
)
from virnucpro_assets.models.configs import count_flops
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.hardware import limit_threads, measure_peak, peak_memory
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.storage.parts import PartRecord
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow, finite_rows
from virnucpro_assets.vocabulary import Precision, QuarantineReason

Write = Callable[[], tuple[PartRecord | None, list[str]]]
"""Writes the result of a task; returns the record of a part, and warnings."""


class BackgroundWriter:
    """Does one piece of writing at a time in a thread of its own, while the next part is computed.

    So a device process holds at most two parts. When the disk is slower than the device, the device waits.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin with `write` once what was submitted before is done."""
        self.wait()
        self._pending = self._executor.submit(write)
        self._pending.add_done_callback(_end_process_on_error)

    def wait(self) -> float:
        """Wait until nothing is left to write; returns the seconds that took."""
        started = time.monotonic()
        if self._pending is not None:
            self._pending.result()
            self._pending = None
        return time.monotonic() - started


def _end_process_on_error(written: Future[None]) -> None:
    # The thread that computes may be waiting for orders for ever: nobody else would see the error.
    if (error := written.exception()) is not None:
        traceback.print_exception(error)
        os._exit(1)


class Worker:
    """Holds encoders, and loads those that a task names."""

    def __init__(self, device: str, threads: int, replies: Replies) -> None:
        limit_threads(threads)
        self._replies = replies
        self._encoders = LoadedEncoders(device)
        self._writer = BackgroundWriter()
        self._token_limits: dict[EncoderChoice, int] = {}
        self._peaks: dict[Precision, float] = {}

    def serve(self, descriptor: int) -> None:
        """Answer the orders that come in through a pipe, line by line, until it is closed."""
        self._replies.send(Ready())
        idle = time.monotonic()
        for prepared in prefetch(descriptor, Inputs()):
            self._answer(prepared.order, prepared.input, prepared.waited_since(idle))
            idle = time.monotonic()
        self._writer.wait()

    def _answer(self, order: Order, made: Input | Exception, waited_for_input: float) -> None:
        self._replies.send(Began(number=order.number))
        started, loading = time.monotonic(), self._encoders.seconds
        write: Write
        try:
            if isinstance(made, Exception):
                raise made
            match order.task:
                case PartTask() as task:
                    write = self._embed_part(task, made, order.number)
                case ProbeTask() as task:
                    write = self._probe(task, made, order.number)
                case SampleTask() as task:
                    write = self._embed_sample(task, made, order.number)
        except (VirnucproError, OSError) as error:
            self._replies.send(_failed(order.number, error))
            return
        seconds = time.monotonic() - started
        finished = Finished(
            number=order.number,
            seconds=seconds,
            loading_seconds=self._encoders.seconds - loading,
            **self._rates(order.task, made),
            waited_for_input=waited_for_input,
            waited_for_output=self._writer.wait(),
        )
        self._writer.submit(lambda: self._finish(finished, write))

    def _finish(self, finished: Finished, write: Write) -> None:
        try:
            part, warnings = write()
        except (VirnucproError, OSError) as error:
            self._replies.send(_failed(finished.number, error))
        else:
            self._replies.send(finished.model_copy(update={"part": part, "warnings": warnings}))

    def _rates(self, task: Task, given: Input) -> dict[str, Any]:
        """How much a part used its device; empty for other tasks, and for a part that the cache gives whole."""
        if not isinstance(task, PartTask) or not len(given.rows):
            return {}
        choice, device = task.encoder, self._encoders.get(task.encoder).device
        if task.peak_flops is None and choice.precision not in self._peaks:
            self._peaks[choice.precision] = measure_peak(device, DTYPES[choice.precision])
        return {
            "flops": count_flops(read_config(choice.folder), given.tokens.lengths).total,
            "peak_flops": task.peak_flops or self._peaks[choice.precision],
            "peak_memory": peak_memory(device),
        }

    def _embed_part(self, task: PartTask, given: Input, number: int) -> Write:
        rows = given.rows
        if not len(rows):
            # Not even the model is loaded for a part that the cache gives whole.
            nothing = nothing_embedded(task.encoder.width)
            return lambda: write_and_keep(task, rows, given.hits, nothing, Incidents())
        left_out = np.flatnonzero(np.isin(rows, [row.row for row in task.quarantined]))
        limits = (self._token_limits.get(task.encoder), task.token_limit)
        encoder = self._encoders.get(task.encoder)
        self._encoders.prefetch(task.next_encoder)
        embedded = embed_sequences(
            encoder,
            given.sequences,
            task.recipe.token_budget,
            tokens=given.tokens,
            token_limit=min((limit for limit in limits if limit is not None), default=None),
            left_out=left_out,
            callbacks=self._callbacks(number, rows if task.announced else None),
        )
        if embedded.token_limit is not None and embedded.token_limit != task.token_limit:
            self._token_limits[task.encoder] = embedded.token_limit
        incidents = self._embed_again(task, given, embedded, left_out)
        return lambda: write_and_keep(task, rows, given.hits, embedded, incidents)

    def _embed_again(
        self, task: PartTask, given: Input, embedded: Embedded, left_out: Positions
    ) -> Incidents:
        """Replace rows with NaN or Inf by ones computed in float32, and return the incidents of the part."""
        rows = given.rows
        lost = np.union1d(left_out, embedded.too_large)
        again = np.setdiff1d(embedded.not_finite, lost)
        reasons: dict[int, QuarantineReason] = dict.fromkeys(
            rows[embedded.too_large].tolist(), "out_of_memory"
        )
        if len(again):
            exact = self._encoders.get(task.encoder.in_precision("float32"))
            second = embed_sequences(
                exact, given.sequences.take(again), task.recipe.token_budget, token_limit=embedded.token_limit
            )
            embedded.embeddings[again] = second.embeddings
            reasons |= dict.fromkeys(rows[again[second.not_finite]].tolist(), "not_finite")
            reasons |= dict.fromkeys(rows[again[second.too_large]].tolist(), "out_of_memory")
        embedded.embeddings[~finite_rows(embedded.embeddings)] = np.nan
        found = [QuarantinedRow(row=row, reason=reason) for row, reason in reasons.items()]
        return Incidents(
            recomputed=[row for row in rows[again].tolist() if row not in reasons],
            quarantined=sorted([*task.quarantined, *found], key=lambda quarantined: quarantined.row),
            split_packs=embedded.split_packs,
            token_limit=embedded.token_limit,
        )

    def _probe(self, task: ProbeTask, given: Input, number: int) -> Write:
        embed_sequences(
            self._encoders.get(task.encoder),
            given.sequences,
            int(given.tokens.lengths.sum()),
            tokens=given.tokens,
            callbacks=self._callbacks(number),
        )
        return lambda: (None, [])

    def _embed_sample(self, task: SampleTask, given: Input, number: int) -> Write:
        # Nothing is computed again in another precision here: a second model would only need memory.
        encoder = self._encoders.get(task.encoder, alone=True)
        self._encoders.prefetch(task.next_encoder)
        embedded = embed_sequences(
            encoder,
            given.sequences,
            task.token_budget,
            tokens=given.tokens,
            one_at_a_time=task.one_at_a_time,
            callbacks=self._callbacks(number),
        )

        def write() -> tuple[None, list[str]]:
            with atomic_file(task.target) as stream:
                np.save(stream, embedded.embeddings, allow_pickle=False)
            return None, []

        return write

    def _callbacks(self, number: int, announced: Positions | None = None) -> PackCallbacks:
        def done(sequences: int, tokens: int) -> None:
            self._replies.send(PackDone(number=number, sequences=sequences, tokens=tokens))

        if announced is None:
            return PackCallbacks(done=done)

        def starting(positions: Positions) -> None:
            self._replies.send(PackStarted(number=number, rows=announced[positions].tolist()))

        return PackCallbacks(starting, done)


def _failed(number: int, error: VirnucproError | OSError) -> Failed:
    if isinstance(error, OSError):
        return Failed(number=number, reason=describe_os_error(error), storage=True)
    return Failed(number=number, reason=str(error))
