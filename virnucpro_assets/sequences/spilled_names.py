"""The names of a drop in files: written in order, read back one by one at any position."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

_CHUNK = 65_536


class SpilledNames:
    """Names laid end to end in one file; where each starts, and the last ends (int64), in another."""

    def __init__(self, letters: Path, offsets: Path) -> None:
        self._letters, self._offsets = letters, offsets
        self._size = 0
        letters.write_bytes(b"")
        offsets.write_bytes(np.zeros(1, np.int64).tobytes())

    def add(self, names: Sequence[str]) -> None:
        """Append `names`."""
        encoded = [name.encode() for name in names]
        ends = self._size + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._size += sum(map(len, encoded))
        append(self._letters, b"".join(encoded))
        append(self._offsets, ends.tobytes())

    @contextmanager
    def reader(self) -> Iterator["NameReader"]:
        """Open the files for reading names by position."""
        with self._letters.open("rb") as letters:
            yield NameReader(letters.fileno(), np.memmap(self._offsets, np.int64, "r"))

    def remove(self) -> None:
        """Remove the files."""
        self._letters.unlink()
        self._offsets.unlink()


class NameReader:
    """Reads single names; the letters are not mapped, so that they never count as memory."""

    def __init__(self, letters: int, offsets: npt.NDArray[np.int64]) -> None:
        self._letters, self._offsets = letters, np.asarray(offsets)

    def each(self, positions: npt.NDArray[np.int64]) -> Iterator[str]:
        """The names at `positions`, in that order."""
        for chunk in range(0, len(positions), _CHUNK):
            wanted = positions[chunk : chunk + _CHUNK]
            starts = self._offsets[wanted]
            lengths = self._offsets[wanted + 1] - starts
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                yield os.pread(self._letters, length, start).decode()

    def at(self, position: int) -> str:
        """The name of the read at `position`, from 0."""
        start, stop = self._offsets[position : position + 2].tolist()
        return os.pread(self._letters, stop - start, start).decode()


def append(file: Path, content: bytes) -> None:
    """Append `content`; the file is closed in between, so that an error elsewhere leaves none open."""
    with file.open("ab") as stream:
        stream.write(content)
