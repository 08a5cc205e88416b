"""Reading the tensors of a weights file: large reads, several at a time, in advance.

One thread that alternates between reading and copying leaves disk and device idle in turn. Here READERS threads read
pieces of PIECE bytes, at most PREFETCHED bytes before the tensor that the caller copies. For a GPU their memory is
pinned, so that copies are asynchronous; the allocator reuses it once they are done.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from virnucpro_assets.errors import IntegrityError

READERS = 8
PIECE = 16 << 20
PREFETCHED = READERS * PIECE


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: the bytes `start` up to but not including `stop`, counted from its beginning."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Pending:
    stored: StoredTensor
    memory: torch.Tensor
    pieces: Sequence[Future[None]]


def read_tensors(
    path: Path, stored: Sequence[StoredTensor], *, pinned: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors as stored, in the order of `stored`, in memory of their own.

    Raises IntegrityError if the file ends before a tensor does.
    """
    waiting, pending = deque(stored), deque[_Pending]()
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(READERS, "weights") as readers:
        while waiting or pending:
            prefetched = sum(one.memory.nbytes for one in pending)
            while waiting and (not pending or prefetched + waiting[0].stop - waiting[0].start <= PREFETCHED):
                pending.append(_start(readers, path, file.fileno(), waiting.popleft(), pinned=pinned))
                prefetched += pending[-1].memory.nbytes
            first = pending.popleft()
            for piece in first.pieces:
                piece.result()
            yield first.stored.name, first.memory.view(first.stored.dtype).view(first.stored.shape)


def _start(
    readers: ThreadPoolExecutor, path: Path, descriptor: int, stored: StoredTensor, *, pinned: bool
) -> _Pending:
    memory = torch.empty(stored.stop - stored.start, dtype=torch.uint8, pin_memory=pinned)
    content = memory.numpy().data
    pieces = [
        readers.submit(_read, path, descriptor, content[first : first + PIECE], stored.start + first)
        for first in range(0, len(content), PIECE)
    ]
    return _Pending(stored, memory, pieces)


def _read(path: Path, descriptor: int, content: memoryview, offset: int) -> None:
    done = 0
    while done < len(content):
        count = os.preadv(descriptor, [content[done:]], offset + done)
        if not count:
            raise IntegrityError(
                path,
                found=f"the end of the file at byte {offset + done}",
                expected="more, as its header says",
                advice="Fetch the model again.",
            )
        done += count
