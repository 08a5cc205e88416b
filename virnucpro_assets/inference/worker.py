"""The worker inside a device process: tasks in, parts and samples out."""

import time
from pathlib import Path
from typing import IO

import numpy as np
from pydantic import BaseModel

from virnucpro_assets.errors import IntegrityError, VirnucproError
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.inference.embedding import NotFiniteError, embed_sequences
from virnucpro_assets.inference.messages import (
    TASKS,
    Advanced,
    EncoderChoice,
    Failed,
    Finished,
    PartTask,
    Ready,
    SampleTask,
)
from virnucpro_assets.models.encoder import Encoder
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.threads import limit_threads
from virnucpro_assets.sequences.index import RowBatch, SequenceIndex
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.parts import PartRecord, rows_of, write_part
from virnucpro_assets.vocabulary import EncoderKind


class Worker:
    """Holds one encoder and one open index, and changes them when a task names others."""

    def __init__(self, device: str, threads: int) -> None:
        limit_threads(threads)
        self._device = device
        self._encoder: tuple[EncoderChoice, Encoder] | None = None
        self._index: tuple[Path, SequenceIndex] | None = None

    def serve(self, tasks: IO[bytes], replies: IO[bytes], *, name: str) -> None:
        """Answer the tasks that come in, line by line, until `tasks` ends."""
        self._replies = replies
        self._reply(Ready(device=name))
        for line in tasks:
            self._answer(TASKS.validate_json(line))

    def _answer(self, task: PartTask | SampleTask) -> None:
        started = time.monotonic()
        try:
            part = None
            if isinstance(task, PartTask):
                part = self._write_part(task)
            else:
                self._write_sample(task)
        except NotFiniteError as error:
            rows = self._rows(task)[error.positions].tolist()
            self._reply(Failed(reason=str(error), rows=rows))
        except (VirnucproError, OSError) as error:
            self._reply(Failed(reason=str(error)))
        else:
            self._reply(Finished(seconds=time.monotonic() - started, part=part))

    def _write_part(self, task: PartTask) -> PartRecord:
        rows = rows_of(task.plan, task.recipe.ranks)
        index = self._open(task.index, task.recipe.index_digest)
        batch = index.rows(int(rows[0]), int(rows[-1]) + 1, task.recipe.ranks)
        embeddings, counts = embed_sequences(
            self._load(task.encoder),
            sequences_for(task.encoder.kind, batch),
            task.recipe.token_budget,
            advanced=self._advanced,
        )
        return write_part(task.target, task.plan, task.recipe, embeddings, counts)

    def _write_sample(self, task: SampleTask) -> None:
        index = self._open(task.index, task.index_digest)
        sequences = [sequences_for(task.encoder.kind, index.rows(row, row + 1))[0] for row in task.rows]
        embeddings, _ = embed_sequences(
            self._load(task.encoder),
            Ragged.from_strings(sequences),
            task.token_budget,
            one_at_a_time=task.one_at_a_time,
            advanced=self._advanced,
        )
        with atomic_file(task.target) as stream:
            np.save(stream, embeddings, allow_pickle=False)

    def _rows(self, task: PartTask | SampleTask) -> np.ndarray:
        return (
            rows_of(task.plan, task.recipe.ranks)
            if isinstance(task, PartTask)
            else np.array(task.rows, np.int64)
        )

    def _open(self, folder: Path, digest: str) -> SequenceIndex:
        if self._index is None or self._index[0] != folder or self._index[1].manifest.digest != digest:
            self._index = (folder, SequenceIndex.open(folder))
        if (found := self._index[1].manifest.digest) != digest:
            raise IntegrityError(
                f"{folder}: found an index of digest {found}; expected {digest}, as it was when the run began. "
                "Start the run again once the index no longer changes."
            )
        return self._index[1]

    def _load(self, choice: EncoderChoice) -> Encoder:
        if self._encoder is None or self._encoder[0] != choice:
            self._encoder = None
            if (found := read_model_folder(choice.folder).digest) != choice.digest:
                raise IntegrityError(
                    f"{choice.folder}: found a model of digest {found}; expected {choice.digest}, as it was when the "
                    "run began. Start the run again once the model no longer changes."
                )
            encoder = load_encoder(choice.folder, precision=choice.precision, device=self._device)
            self._encoder = (choice, encoder)
        return self._encoder[1]

    def _advanced(self, sequences: int, tokens: int) -> None:
        self._reply(Advanced(sequences=sequences, tokens=tokens))

    def _reply(self, message: BaseModel) -> None:
        self._replies.write(message.model_dump_json().encode() + b"\n")


def sequences_for(kind: EncoderKind, batch: RowBatch) -> Ragged:
    """What an encoder reads of the index's rows: nucleotides for DNABERT-S, proteins for ESM-2."""
    return batch.nucleotides if kind == "dnabert_s" else batch.proteins
