"""The worker inside a device process: orders in, parts and samples out.

The order of things for a part: take its input, which was made while the part before was computed;
embed it pack by pack; embed again in float32 what came out as NaN or Inf; hand everything to the
writer and go on with the next order. What cannot be embedded even so is quarantined: it is listed
in the part by row and reason.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.inference.embedding import (
    Embedded,
    Listener,
    Positions,
    embed_sequences,
    nothing_embedded,
)
from virnucpro_assets.inference.encoders import LoadedEncoders
from virnucpro_assets.inference.inputs import Input, Inputs, ahead
from virnucpro_assets.inference.known_rows import keep_computed, worth_keeping
from virnucpro_assets.inference.messages import (
    Advanced,
    Began,
    EncoderChoice,
    Entered,
    Failed,
    Finished,
    Order,
    PartTask,
    ProbeTask,
    Ready,
    SampleTask,
    Task,
)
from virnucpro_assets.inference.replies import Replies
from virnucpro_assets.inference.writer import BackgroundWriter
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.hardware import limit_threads, measure_peak, peak_memory
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.models.sizes import count_flops
from virnucpro_assets.storage.embedding_cache import cache_namespace
from virnucpro_assets.storage.incidents import Incidents, QuarantinedRow
from virnucpro_assets.storage.parts import PartRecord, write_part
from virnucpro_assets.vocabulary import Precision, QuarantineReason


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
        for ordered in ahead(descriptor, Inputs()):
            self._answer(ordered.order, ordered.input, ordered.waited_since(idle))
            idle = time.monotonic()
        self._writer.wait()

    def _answer(self, order: Order, made: Input | Exception, starved: float) -> None:
        self._replies.send(Began(number=order.number))
        started, loading = time.monotonic(), self._encoders.seconds
        write: Callable[[], PartRecord | None]
        said: list[str] = []
        try:
            if isinstance(made, Exception):
                raise made
            match order.task:
                case PartTask() as task:
                    write = self._embed_part(task, made, order.number, said)
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
            loading=self._encoders.seconds - loading,
            **self._rates(order.task, made),
            waited_for_input=starved,
            waited=self._writer.wait(),
        )
        self._writer.submit(lambda: self._finish(finished, write, said))

    def _finish(self, finished: Finished, write: Callable[[], PartRecord | None], said: list[str]) -> None:
        try:
            part = write()
        except (VirnucproError, OSError) as error:
            self._replies.send(_failed(finished.number, error))
        else:
            self._replies.send(finished.model_copy(update={"part": part, "said": said}))

    def _rates(self, task: Task, given: Input) -> dict[str, Any]:
        """What a part took of its device; nothing for other tasks, and where all was known."""
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

    def _embed_part(
        self, task: PartTask, given: Input, number: int, said: list[str]
    ) -> Callable[[], PartRecord]:
        rows = given.rows
        if not len(rows):
            # Not even the model is loaded for a part that the cache knows whole.
            nothing = nothing_embedded(task.encoder.width)
            return lambda: _write_part(task, given, nothing, Incidents(), said)
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
            listener=self._listener(number, rows if task.announced else None),
        )
        if embedded.token_limit is not None and embedded.token_limit != task.token_limit:
            self._token_limits[task.encoder] = embedded.token_limit
        incidents = self._embed_again(task, given, embedded, left_out)
        return lambda: _write_part(task, given, embedded, incidents, said)

    def _embed_again(
        self, task: PartTask, given: Input, embedded: Embedded, left_out: Positions
    ) -> Incidents:
        """Put float32 rows in the place of those with NaN or Inf; what happened to the part."""
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
        embedded.embeddings[~np.isfinite(embedded.embeddings).all(axis=1)] = np.nan
        found = [QuarantinedRow(row=row, reason=reason) for row, reason in reasons.items()]
        return Incidents(
            recomputed=[row for row in rows[again].tolist() if row not in reasons],
            quarantined=sorted([*task.quarantined, *found], key=lambda quarantined: quarantined.row),
            split_packs=embedded.split_packs,
            token_limit=embedded.token_limit,
        )

    def _probe(self, task: ProbeTask, given: Input, number: int) -> Callable[[], None]:
        embed_sequences(
            self._encoders.get(task.encoder),
            given.sequences,
            int(given.tokens.lengths.sum()),
            tokens=given.tokens,
            listener=self._listener(number),
        )
        return lambda: None

    def _embed_sample(self, task: SampleTask, given: Input, number: int) -> Callable[[], None]:
        # Nothing is computed again in another precision here: a second model would only need memory.
        encoder = self._encoders.get(task.encoder, alone=True)
        self._encoders.prefetch(task.next_encoder)
        embedded = embed_sequences(
            encoder,
            given.sequences,
            task.token_budget,
            tokens=given.tokens,
            one_at_a_time=task.one_at_a_time,
            listener=self._listener(number),
        )

        def write() -> None:
            with atomic_file(task.target) as stream:
                np.save(stream, embedded.embeddings, allow_pickle=False)

        return write

    def _listener(self, number: int, announced: Positions | None = None) -> Listener:
        def advanced(sequences: int, tokens: int) -> None:
            self._replies.send(Advanced(number=number, sequences=sequences, tokens=tokens))

        if announced is None:
            return Listener(advanced=advanced)

        def entering(positions: Positions) -> None:
            self._replies.send(Entered(number=number, rows=announced[positions].tolist()))

        return Listener(entering, advanced)


def _write_part(
    task: PartTask, given: Input, embedded: Embedded, incidents: Incidents, said: list[str]
) -> PartRecord:
    """Write a part with what was known of it, then keep for others what was computed."""
    known, computed = given.known, embedded.embeddings
    embeddings = computed if known is None else known.joined(given.rows, computed)
    record = write_part(
        task.target,
        task.plan,
        task.recipe,
        embeddings,
        embedded.counts,
        incidents=incidents,
        cached=0 if known is None else len(known.rows),
    )
    if known is not None and task.cache is not None:
        said += known.said
        kept = worth_keeping(given.rows, computed, incidents)
        said += keep_computed(task.cache, cache_namespace(task.recipe), known, computed, kept)
    return record


def _failed(number: int, error: VirnucproError | OSError) -> Failed:
    if isinstance(error, OSError):
        return Failed(number=number, reason=describe_os_error(error), storage=True)
    return Failed(number=number, reason=str(error))
