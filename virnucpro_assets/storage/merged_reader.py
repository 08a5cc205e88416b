"""Reads the rows of merged embeddings directly from the parts, verified, in any number of threads.

Before a row is read, every part that holds some of it is verified by its digest, in threads that prefetch a few
parts. Then the numbers are read from their offset in the part: HDF5 reads under one global lock, so
only one thread at a time, but it stores the numbers of a part contiguously and tells the offset.

Every block is compared with the shards' records: only quarantined rows may be NaN.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import FileRecord, VerifiedFiles
from virnucpro_assets.storage.merged import (
    MERGED_VIEW,
    MergedManifest,
    quarantined_rows,
    read_merged,
    read_merged_rows,
    source_shards,
)
from virnucpro_assets.storage.provenance import nan_contradiction
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

VERIFYING = 4
"""Threads that digest parts while rows are read and used."""

PREFETCHED_PARTS = 4

Block = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Rows of the index int64 [n], and their embeddings float32 [n, width]."""


@dataclass(frozen=True, slots=True)
class _StoredPart:
    """A source of a merged view, which holds the merged rows `start` up to but not including `stop`."""

    kind: EncoderKind
    start: int
    stop: int
    path: Path
    file: FileRecord


class MergedReader:
    """The merged rows in a folder, in stored order. Use it as a context manager; threads may share it.

    Opening checks the sources, see `read_merged`. Parts that are in `verified` already are not digested again.
    """

    def __init__(self, folder: Path, verified: VerifiedFiles | None = None) -> None:
        self.folder = folder
        self.manifest = read_merged(folder)
        self._rows = read_merged_rows(folder)
        self._quarantined = quarantined_rows(folder, self.manifest)
        self._parts = _stored_parts(folder, self.manifest)
        self._starts = [part.start for part in self._parts]
        self._longest = max((part.stop - part.start for part in self._parts), default=0)
        self._verified = VerifiedFiles() if verified is None else verified
        self._offsets: list[Future[int]] = []
        self._lock = threading.Lock()
        self._verifying = ThreadPoolExecutor(VERIFYING, "verify")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._verifying.shutdown(cancel_futures=True)

    def merged_positions(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """int64 [n]: where in the merged order the index rows `positions` are."""
        return np.argsort(self._rows, kind="stable")[positions]

    def read(self, start: int, stop: int) -> Block:
        """The merged rows `start` up to but not including `stop`, cut to those that exist.

        Quarantined rows are NaN in the columns of their encoder. Raises IntegrityError, naming the file, if a
        source is missing or changed, and, naming the row, for any other NaN or Inf.
        """
        rows = self._rows[start:stop]
        embeddings = np.empty((len(rows), self.manifest.width), np.float32)
        for part, offset in self._sources(start, start + len(rows)):
            first, last = max(start, part.start), min(start + len(rows), part.stop)
            left = sum(self.manifest.widths[kind] for kind in takewhile(part.kind.__ne__, ENCODER_KINDS))
            width = self.manifest.widths[part.kind]
            found = _read_rows(part, offset, width, first - part.start, last - part.start)
            embeddings[first - start : last - start, left : left + width] = found
        self._refuse_unexplained_nan(rows, embeddings)
        return rows, embeddings

    def _sources(self, start: int, stop: int) -> Iterator[tuple[_StoredPart, int]]:
        """The parts that hold these rows, each with the byte offset of its numbers, once it is verified."""
        first = bisect_left(self._starts, start - self._longest)
        needed = bisect_left(self._starts, stop)
        with self._lock:
            for part in self._parts[len(self._offsets) : needed + PREFETCHED_PARTS]:
                self._offsets.append(self._verifying.submit(self._verify, part))
        for number in range(first, needed):
            if self._parts[number].stop > start:
                yield self._parts[number], self._offsets[number].result()

    def _verify(self, part: _StoredPart) -> int:
        """The byte offset of a part's numbers; IntegrityError if the part is not the one that was merged."""
        self._verified.require(part.path, part.file)
        return _offset_of(part, self.manifest.widths[part.kind])

    def _refuse_unexplained_nan(
        self, rows: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float32]
    ) -> None:
        left = 0
        for kind in ENCODER_KINDS:
            right = left + self.manifest.widths[kind]
            if found := nan_contradiction(rows, embeddings[:, left:right], self._quarantined[kind]):
                raise IntegrityError(
                    self.folder / MERGED_VIEW,
                    where=kind,
                    found=found,
                    expected="NaN in quarantined rows only",
                    advice="Check the disk, then materialise the embeddings and merged_embeddings again.",
                )
            left = right


def merged_blocks(folder: Path, size: int = 8192) -> Iterator[Block]:
    """Stream the merged rows in `folder` in stored order, at most `size` at a time; raises as `MergedReader` does."""
    with MergedReader(folder) as reader:
        for start in range(0, reader.manifest.rows, size):
            yield reader.read(start, start + size)


def read_merged_at(
    folder: Path, positions: npt.NDArray[np.int64], verified: VerifiedFiles | None = None
) -> npt.NDArray[np.float32]:
    """float32 [n, width]: the rows of the index at `positions`, for samples; raises as `MergedReader` does."""
    with MergedReader(folder, verified) as reader:
        merged = reader.merged_positions(positions).tolist()
        return np.concatenate([reader.read(row, row + 1)[1] for row in merged])


def _stored_parts(folder: Path, manifest: MergedManifest) -> list[_StoredPart]:
    """The sources of a view in the order in which its rows need them."""
    shards = source_shards(folder, manifest)
    sizes = {
        path / part.name: part.stop - part.start for path, shard in shards.items() for part in shard.parts
    }
    ends = dict.fromkeys(ENCODER_KINDS, 0)
    parts = []
    for source in manifest.sources:
        path = folder / source.path
        kind = shards[path.parent].recipe.encoder
        start, ends[kind] = ends[kind], ends[kind] + sizes[path]
        parts.append(_StoredPart(kind, start, ends[kind], path, source.file))
    return sorted(parts, key=lambda part: part.start)


def _offset_of(part: _StoredPart, width: int) -> int:
    """The byte offset of a part's numbers; IntegrityError if they are not stored contiguously."""
    with _still_there(part), h5py.File(part.path, "r") as file:
        stored = file["embeddings"]
        offset: int | None = stored.id.get_offset()
        if offset is None or stored.dtype != "<f4" or stored.shape != (part.stop - part.start, width):
            raise IntegrityError(
                part.path,
                found=f"embeddings of shape {stored.shape} and type {stored.dtype}",
                expected=f"{(part.stop - part.start, width)} float32 in one piece",
                advice="Materialise the embeddings again.",
            )
        return offset


def _read_rows(part: _StoredPart, offset: int, width: int, first: int, last: int) -> npt.NDArray[np.float32]:
    """float32 [last - first, width]: these rows of a part whose numbers begin at `offset`."""
    rows = np.empty((last - first, width), "<f4")
    start = offset + first * width * rows.itemsize
    with _still_there(part), part.path.open("rb") as file:
        file.seek(start)
        count = file.readinto(rows.data.cast("B"))
    if count < rows.nbytes:
        raise IntegrityError(
            part.path,
            found=f"the end of the file at byte {start + count}",
            expected="the part that was verified",
            advice="Materialise the embeddings again.",
        )
    return rows


@contextmanager
def _still_there(part: _StoredPart) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise IntegrityError(
            part.path,
            found="no file",
            expected="the part that was verified",
            advice="Materialise the embeddings again.",
        ) from error
