"""A device process with a fault: the real one, in which chosen calls were replaced first.

Run by its path with the faults as JSON before the arguments of a device process; `Faults.program`
gives what a pool needs for that. Nothing in the product knows of it.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from pydantic import BaseModel

from virnucpro_assets.files.atomic import TEMPORARY_MARK
from virnucpro_assets.inference import device_process

FOR_EVER = 3600.0


class WriteFault(BaseModel):
    """The disk refuses to write, to sync or to rename.

    It does so for every file whose final name matches `files`, after `after` such files went well.
    A write that fails has left half of its content behind.
    """

    at: Literal["write", "fsync", "rename"]
    error: Literal["ENOSPC", "EIO"]
    files: str = "part-*.h5"
    after: int = 0


class Faults(BaseModel):
    """What is to go wrong in a device process.

    `log` gets a line `begun|packed|written PID KIND RANK PART` for what happens to each part. The disk
    refuses what the file `write` says, a WriteFault that may change while the process runs. Before each
    pack the process sleeps for `pause` seconds, before each write of a part for `write_pause`.
    No pack is computed before `gather` processes, of all that wrote into `log`, have begun a part.
    A pack of more than `memory_tokens` does not fit into memory. A pack with one of the sequences
    `crashing`, or with all of `crashing_together`, ends the process, one with a sequence of `hanging`
    never comes back, one with a sequence of `not_finite` gives NaN for it. With `once`, a file that must
    not be there yet, the process crashes or hangs one time only. On the CPU slots `broken` it ends before
    it owns its device, when it loads a model, or in every pack. `clock_steps` are seconds that the wall
    clock is off, in turn, whenever it is read.
    """

    log: Path | None = None
    pause: float = 0.0
    gather: int = 0
    write_pause: float = 0.0
    write: Path | None = None
    memory_tokens: int | None = None
    crashing: list[str] = []
    crashing_together: list[str] = []
    hanging: list[str] = []
    not_finite: list[str] = []
    once: Path | None = None
    broken: dict[int, Literal["start", "load", "pack"]] = {}
    clock_steps: list[float] = []

    @property
    def program(self) -> tuple[str, ...]:
        """The interpreter's arguments that start a device process with these faults."""
        return (str(Path(__file__)), self.model_dump_json())


def main() -> None:
    """Install the faults of the first argument and be a device process with the others."""
    faults = Faults.model_validate_json(sys.argv.pop(1))
    if _breaks(faults) == "start":
        sys.exit("this slot is broken")
    if faults.write:
        refuse_writes(faults.write)
    if faults.clock_steps:
        move_clock(faults.clock_steps)
    _install_when_the_worker_is_imported(faults)
    device_process.main()


def _install_when_the_worker_is_imported(faults: Faults) -> None:
    """The worker brings torch, which must not come before the device is owned."""
    acquire = device_process.acquire

    def acquire_then_import(*arguments: Any) -> None:
        acquire(*arguments)
        os.environ["OMP_NUM_THREADS"] = _argument("--threads")
        os.environ["CUDA_VISIBLE_DEVICES"] = _argument("--uuid")
        install_in_worker(faults)

    device_process.acquire = acquire_then_import


def _breaks(faults: Faults) -> str | None:
    return faults.broken.get(int(_argument("--number")))


def _argument(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def install_in_worker(faults: Faults) -> None:
    """Replace what the worker calls: embedding, writing and the encoders."""
    from virnucpro_assets.inference import cache_hits, worker  # noqa: PLC0415

    log = _log_to(faults.log)
    embed_part, embed_sequences, write_part = (
        worker.Worker._embed_part,
        worker.embed_sequences,
        cache_hits.write_part,
    )
    part_in_work: list[str] = [""]

    def embed_part_logged(self: Any, task: Any, *arguments: Any) -> Callable[[], Any]:
        part_in_work[0] = f"{task.encoder.kind} {task.plan.rank} {task.plan.number}"
        log("begun", part_in_work[0])
        return embed_part(self, task, *arguments)

    def embed_sequences_with_faults(
        encoder: Any, sequences: Any, *arguments: Any, callbacks: Any = None, **options: Any
    ) -> Any:
        callbacks = callbacks or worker.PackCallbacks()

        def advanced(*counts: int) -> None:
            log("packed", part_in_work[0])
            callbacks.done(*counts)

        embedded = embed_sequences(
            _FaultyEncoder(encoder, faults),
            sequences,
            *arguments,
            callbacks=worker.PackCallbacks(_trouble_before(faults, sequences, callbacks.starting), advanced),
            **options,
        )
        if lost := _positions(sequences, faults.not_finite):
            embedded = replace(embedded, embeddings=embedded.embeddings.copy())
            embedded.embeddings[lost] = np.nan
        return embedded

    def write_part_logged(path: Path, plan: Any, recipe: Any, *arguments: Any, **options: Any) -> Any:
        time.sleep(faults.write_pause)
        record = write_part(path, plan, recipe, *arguments, **options)
        log("written", f"{recipe.encoder} {plan.rank} {plan.number}")
        return record

    if _breaks(faults) == "load":
        worker.LoadedEncoders._load = lambda *arguments: os.abort()
    worker.Worker._embed_part = embed_part_logged
    worker.embed_sequences = embed_sequences_with_faults
    cache_hits.write_part = write_part_logged


def _trouble_before(
    faults: Faults, sequences: Any, announce: Callable[[Any], None] | None
) -> Callable[[Any], None]:
    """What to call with the positions of the sequences in each pack: it may not come back."""
    crashing, hanging, together = (
        _positions(sequences, chosen)
        for chosen in (faults.crashing, faults.hanging, faults.crashing_together)
    )

    def starting(positions: Any) -> None:
        if announce:
            announce(positions)
        _wait_for_others(faults)
        time.sleep(faults.pause)
        if _breaks(faults) == "pack":
            os.abort()
        hangs = np.isin(positions, hanging).any()
        crashes = np.isin(positions, crashing).any() or (
            len(together) > 1 and np.isin(together, positions).all()
        )
        if (crashes or hangs) and _first_time(faults.once):
            if crashes:
                os.abort()
            time.sleep(FOR_EVER)

    return starting


def _wait_for_others(faults: Faults) -> None:
    if faults.log is None:
        return
    while len({line.split()[1] for line in faults.log.read_text().splitlines()}) < faults.gather:
        time.sleep(0.02)


class _FaultyEncoder:
    """An encoder on a device of little memory."""

    def __init__(self, encoder: Any, faults: Faults) -> None:
        self._encoder, self._faults = encoder, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, pack: Any) -> Any:
        import torch  # noqa: PLC0415

        limit = self._faults.memory_tokens
        if limit is not None and int(pack.lengths.sum()) > limit:
            raise torch.OutOfMemoryError(f"out of memory: {int(pack.lengths.sum())} tokens")
        return self._encoder.embed(pack)


class _Disk:
    """Which files a disk refuses, counted from the first time that each of them comes up.

    The fault is read from its file every time; without the file there is none.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._fault: WriteFault | None = None
        self._numbers: dict[str, int] = {}

    def refuses(self, at: str, path: Path, *names: object) -> OSError | None:
        final, mark, _ = path.name.partition(TEMPORARY_MARK)
        fault = WriteFault.model_validate_json(self._source.read_bytes()) if self._source.exists() else None
        if fault != self._fault:
            self._fault = fault
            self._numbers.clear()
        if not mark or fault is None or not Path(final).match(fault.files):
            return None
        number = self._numbers.setdefault(path.name, len(self._numbers))
        if at != fault.at or number < fault.after:
            return None
        code = getattr(errno, fault.error)
        return OSError(code, os.strerror(code), *names)


class _HalfWritten:
    """A stream of which the disk takes half of the first content and no more."""

    def __init__(self, stream: IO[bytes], error: OSError) -> None:
        self._stream, self._error = stream, error

    def __enter__(self) -> "_HalfWritten":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def write(self, content: bytes) -> int:
        self._stream.write(content[: len(content) // 2])
        self._stream.flush()
        raise self._error


def refuse_writes(fault: Path) -> None:
    """Make the calls of the atomic writer fail in this process, with the errors that the system gives.

    Which of them fail is what the file `fault`, a WriteFault as JSON, says at the time.
    """
    disk = _Disk(fault)
    real_open, real_fsync, real_replace = Path.open, os.fsync, Path.replace

    def open_(path: Path, *arguments: Any, **options: Any) -> Any:
        stream = real_open(path, *arguments, **options)
        error = disk.refuses("write", path) if TEMPORARY_MARK in path.name else None
        return _HalfWritten(stream, error) if error else stream

    def fsync(descriptor: int) -> None:
        if error := disk.refuses("fsync", Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise error
        real_fsync(descriptor)

    def replace_(path: Path, target: Path) -> Path:
        if error := disk.refuses("rename", path, str(path), None, str(target)):
            raise error
        return real_replace(path, target)

    Path.open, os.fsync, Path.replace = open_, fsync, replace_


def move_clock(steps: list[float]) -> None:
    """Put the wall clock of this process off by each of `steps` seconds in turn."""
    offsets: Iterator[float] = cycle(steps)
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + next(offsets)
    time.time_ns = lambda: real_ns() + int(next(offsets) * 1e9)


def _log_to(path: Path | None) -> Callable[[str, str], None]:
    if path is None:
        return lambda what, part: None
    # In one piece and at once: the process may be killed at any time, and others write as well.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def log(what: str, part: str) -> None:
        os.write(descriptor, f"{what} {os.getpid()} {part}\n".encode())

    return log


def _positions(sequences: Any, chosen: list[str]) -> list[int]:
    wanted = {sequence.encode() for sequence in chosen}
    return [place for place in range(len(sequences)) if wanted and sequences[place] in wanted]


def _first_time(mark: Path | None) -> bool:
    if mark is None:
        return True
    try:
        mark.open("x").close()
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    main()
