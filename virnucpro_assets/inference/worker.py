"""The worker inside a device process: orders in, parts and samples out.

The order of things for a part: read its rows, embed them pack by pack, embed again in float32
what came out as NaN or Inf, hand everything to the writer and go on with the next order. What
cannot be embedded even so is quarantined: it is listed in the part by row and reason.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from virnucpro_assets.errors import IntegrityError, VirnucproError, describe_os_error
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.inference.embedding import Embedded, Listener, Positions, embed_sequences
from virnucpro_assets.inference.encoders import LoadedEncoders
from virnucpro_assets.inference.messages import (
    ORDERS,
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
)
from virnucpro_assets.inference.replies import Replies
from virnucpro_assets.inference.writer import BackgroundWriter
from virnucpro_assets.models.threads import limit_threads
from virnucpro_assets.sequences.index import RowBatch, SequenceIndex
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.incidents import Incidents, QuarantinedRow
from virnucpro_assets.storage.parts import PartRecord, rows_of, write_part
from virnucpro_assets.vocabulary import EncoderKind, QuarantineReason


class Worker:
    """Holds the encoders of one model and one open index, and changes them when a task names others."""

    def __init__(self, device: str, threads: int, replies: Replies) -> None:
        limit_threads(threads)
        self._replies = replies
        self._encoders = LoadedEncoders(device)
        self._index: tuple[Path, SequenceIndex] | None = None
        self._writer = BackgroundWriter()
        self._token_limits: dict[EncoderChoice, int] = {}

    def serve(self, orders: IO[bytes]) -> None:
        """Answer the orders that come in, line by line, until `orders` ends."""
        self._replies.send(Ready())
        for line in orders:
            self._answer(ORDERS.validate_json(line))
        self._writer.wait()

    def _answer(self, order: Order) -> None:
        self._replies.send(Began(number=order.number))
        started = time.monotonic()
        write: Callable[[], PartRecord | None]
        try:
            match order.task:
                case PartTask() as task:
                    write = self._embed_part(task, order.number)
                case ProbeTask() as task:
                    write = self._probe(task, order.number)
                case SampleTask() as task:
                    write = self._embed_sample(task, order.number)
        except (VirnucproError, OSError) as error:
            self._replies.send(_failed(order.number, error))
            return
        seconds = time.monotonic() - started
        waited = self._writer.wait()
        self._writer.submit(lambda: self._finish(order.number, write, seconds, waited))

    def _finish(
        self, number: int, write: Callable[[], PartRecord | None], seconds: float, waited: float
    ) -> None:
        try:
            part = write()
        except (VirnucproError, OSError) as error:
            self._replies.send(_failed(number, error))
        else:
            self._replies.send(Finished(number=number, seconds=seconds, waited=waited, part=part))

    def _embed_part(self, task: PartTask, number: int) -> Callable[[], PartRecord]:
        rows = rows_of(task.plan, task.recipe.ranks)
        index = self._open(task.index, task.recipe.index_digest)
        batch = index.rows(int(rows[0]), int(rows[-1]) + 1, task.recipe.ranks)
        sequences = sequences_for(task.encoder.kind, batch)
        left_out = np.flatnonzero(np.isin(rows, [row.row for row in task.quarantined]))
        limits = (self._token_limits.get(task.encoder), task.token_limit)
        embedded = embed_sequences(
            self._encoders.get(task.encoder),
            sequences,
            task.recipe.token_budget,
            token_limit=min((limit for limit in limits if limit is not None), default=None),
            left_out=left_out,
            listener=self._listener(number, rows if task.announced else None),
        )
        if embedded.token_limit is not None and embedded.token_limit != task.token_limit:
            self._token_limits[task.encoder] = embedded.token_limit
        incidents = self._embed_again(task, rows, sequences, embedded, left_out)
        return lambda: write_part(
            task.target, task.plan, task.recipe, embedded.embeddings, embedded.counts, incidents=incidents
        )

    def _embed_again(
        self, task: PartTask, rows: Positions, sequences: Ragged, embedded: Embedded, left_out: Positions
    ) -> Incidents:
        """Put float32 rows in the place of those with NaN or Inf; what happened to the part."""
        lost = np.union1d(left_out, embedded.too_large)
        again = np.setdiff1d(embedded.not_finite, lost)
        reasons: dict[int, QuarantineReason] = dict.fromkeys(
            rows[embedded.too_large].tolist(), "out_of_memory"
        )
        if len(again):
            exact = self._encoders.get(task.encoder.in_precision("float32"))
            second = embed_sequences(
                exact, sequences.take(again), task.recipe.token_budget, token_limit=embedded.token_limit
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

    def _probe(self, task: ProbeTask, number: int) -> Callable[[], None]:
        sequences = self._chosen(task.index, task.index_digest, task.encoder.kind, task.rows)
        encoder = self._encoders.get(task.encoder)
        tokens = int(encoder.tokenise(sequences).lengths.sum())
        embed_sequences(encoder, sequences, tokens, listener=self._listener(number))
        return lambda: None

    def _embed_sample(self, task: SampleTask, number: int) -> Callable[[], None]:
        sequences = self._chosen(task.index, task.index_digest, task.encoder.kind, task.rows)
        embedded = embed_sequences(
            self._encoders.get(task.encoder),
            sequences,
            task.token_budget,
            one_at_a_time=task.one_at_a_time,
            listener=self._listener(number),
        )

        def write() -> None:
            with atomic_file(task.target) as stream:
                np.save(stream, embedded.embeddings, allow_pickle=False)

        return write

    def _chosen(self, folder: Path, digest: str, kind: EncoderKind, rows: list[int]) -> Ragged:
        index = self._open(folder, digest)
        return Ragged.from_strings([sequences_for(kind, index.rows(row, row + 1))[0] for row in rows])

    def _open(self, folder: Path, digest: str) -> SequenceIndex:
        if self._index is None or self._index[0] != folder or self._index[1].manifest.digest != digest:
            self._index = (folder, SequenceIndex.open(folder))
        if (found := self._index[1].manifest.digest) != digest:
            raise IntegrityError(
                f"{folder}: found an index of digest {found}; expected {digest}, as it was when the run began. "
                "Start the run again once the index no longer changes."
            )
        return self._index[1]

    def _listener(self, number: int, announced: Positions | None = None) -> Listener:
        def entering(positions: Positions) -> None:
            if announced is not None:
                self._replies.send(Entered(number=number, rows=announced[positions].tolist()))

        def advanced(sequences: int, tokens: int) -> None:
            self._replies.send(Advanced(number=number, sequences=sequences, tokens=tokens))

        return Listener(entering, advanced)


def sequences_for(kind: EncoderKind, batch: RowBatch) -> Ragged:
    """What an encoder reads of the index's rows: nucleotides for DNABERT-S, proteins for ESM-2."""
    return batch.nucleotides if kind == "dnabert_s" else batch.proteins


def _failed(number: int, error: VirnucproError | OSError) -> Failed:
    if isinstance(error, OSError):
        return Failed(number=number, reason=describe_os_error(error), storage=True)
    return Failed(number=number, reason=str(error))
