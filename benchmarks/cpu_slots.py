"""An encoder on CPU slots: processes of one thread each, which share the sequences evenly.

This is how device processes use a CPU, without the pool around them: what is timed is computing alone. Each slot
loads the encoder before anything is timed, takes every n-th sequence, and waits for the word to embed them.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import Precision

Rows = npt.NDArray[np.float32]


class CpuSlots:
    """Slots that begin with `load` and end with the context."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._slots: list[Connection[Precision | None, Rows | None]] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def load(
        self, folder: Path, precisions: list[Precision], sequences: Ragged, token_budget: int
    ) -> dict[Precision, Callable[[], Rows]]:
        """Start the slots on the model in `folder`; returns how to embed all `sequences`, by precision."""
        context = multiprocessing.get_context("spawn")
        for number in range(self.count):
            ours, theirs = context.Pipe()
            share = sequences.take(np.arange(number, len(sequences), self.count))
            work = (theirs, folder, precisions, share, token_budget)
            process = context.Process(target=_serve, args=work, daemon=True)
            process.start()
            self._processes.append(process)
            self._slots.append(ours)
        for slot in self._slots:
            slot.recv()
        return {precision: lambda it=precision: self._embed(it, len(sequences)) for precision in precisions}

    def _embed(self, precision: Precision, rows: int) -> Rows:
        for slot in self._slots:
            slot.send(precision)
        shares = [share for slot in self._slots if (share := slot.recv()) is not None]
        together = np.empty((rows, shares[0].shape[1]), np.float32)
        for number, share in enumerate(shares):
            together[number :: self.count] = share
        return together

    def __enter__(self) -> "CpuSlots":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for slot, process in zip(self._slots, self._processes, strict=True):
            slot.send(None)
            process.join()


def _serve(
    pipe: "Connection[Rows | None, Precision | None]",
    folder: Path,
    precisions: list[Precision],
    sequences: Ragged,
    token_budget: int,
) -> None:
    """What a slot does: load, say so, and embed its share in each precision that is asked for."""
    limit_threads(1)
    encoders = {precision: load_encoder(folder, precision=precision) for precision in precisions}
    pipe.send(None)
    while (precision := pipe.recv()) is not None:
        pipe.send(embed_sequences(encoders[precision], sequences, token_budget).embeddings)
