"""The names of a drop on disk, and which of them are repeats.

Names are written to files in order; only their 64-bit hashes are sorted in memory. The sorted hashes are searched a
window at a time, and a window never separates equal hashes, so all reads of one name are in one window. A hash only
says where to look: names are compared by their letters, so a collision costs time but never changes a result.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Hashing = Callable[[Sequence[str]], npt.NDArray[np.uint64]]

_WINDOW = 131_072
# Names read, or new names searched, at a time.
_AT_A_TIME = 65_536


class SpilledNames:
    """Names, one after the other, in one file; the start of each, and the end of the last (int64), in another."""

    def __init__(self, folder: Path) -> None:
        self._letters, self._offsets = folder / "names.letters", folder / "names.offsets"
        self._size = 0
        self._letters.write_bytes(b"")
        self._offsets.write_bytes(np.zeros(1, np.int64).tobytes())

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
    """Reads names by the positions of their reads; the letters are not mapped, so they never count as memory."""

    def __init__(self, letters: int, offsets: npt.NDArray[np.int64]) -> None:
        self._letters, self._offsets = letters, np.asarray(offsets)

    def each(self, positions: Positions) -> Iterator[str]:
        """The names at `positions`, in that order."""
        for start in range(0, len(positions), _AT_A_TIME):
            wanted = positions[start : start + _AT_A_TIME]
            starts = self._offsets[wanted]
            lengths = self._offsets[wanted + 1] - starts
            for offset, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                yield os.pread(self._letters, length, offset).decode()

    def at(self, position: int) -> str:
        """The name of the read at `position`, from 0."""
        return next(self.each(np.array([position])))


def append(file: Path, content: bytes) -> None:
    """Append `content`; the file is closed in between, so an error elsewhere leaves none open."""
    with file.open("ab") as stream:
        stream.write(content)


@dataclass(frozen=True)
class HashedNames:
    """The names of a drop: `hashes` uint64 [n] ascending, `order` int64 [n] the position of the read of each.

    Among equal hashes `order` ascends. `hashing` is the function that made `hashes`.
    """

    hashes: npt.NDArray[np.uint64]
    order: Positions
    reader: NameReader
    hashing: Hashing

    def first_of(self, name: str) -> int | None:
        """The position of the first read with this name, or None."""
        wanted = self.hashing([name])
        start, stop = (int(np.searchsorted(self.hashes, wanted, side)[0]) for side in ("left", "right"))
        return next((int(read) for read in self.order[start:stop] if self.reader.at(int(read)) == name), None)

    def numbered_repeats(self) -> tuple[Positions, Numbers]:
        """The reads whose name an earlier read has, ascending, and the number that each gets."""
        found: list[tuple[Positions, Numbers]] = [(np.empty(0, np.int64), np.empty(0, np.int32))]
        start = 0
        while start < len(self.hashes):
            last = self.hashes[min(start + _WINDOW, len(self.hashes)) - 1]
            stop = int(np.searchsorted(self.hashes, last, "right"))
            found.append(self._repeats_within(start, stop))
            start = stop
        positions, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True))
        ascending = np.argsort(positions)
        return positions[ascending], numbers[ascending]

    def _repeats_within(self, start: int, stop: int) -> tuple[Positions, Numbers]:
        same_as_next = self.hashes[start : stop - 1] == self.hashes[start + 1 : stop]
        shared = np.append(same_as_next, False) | np.insert(same_as_next, 0, False)
        members = self.order[start:stop][shared]
        repeats_of: dict[str, int] = {}
        reads: list[int] = []
        names: list[str] = []
        numbers: list[int] = []
        for read, name in zip(members.tolist(), self.reader.each(members), strict=True):
            repeats_of[name] = number = repeats_of.get(name, -1) + 1
            if number:
                reads.append(read)
                names.append(name)
                numbers.append(number)
        # Repeat j gets number j, unless a read has one of the new names already.
        new_names = map("{}_{}".format, names, numbers)
        taken = {name.rpartition("_")[0] for name in self._taken(new_names)}
        free = {name: iter(self._free_numbers(name, repeats_of[name])) for name in taken}
        if free:
            numbers = [
                next(free[name]) if name in free else j for name, j in zip(names, numbers, strict=True)
            ]
        return np.array(reads, np.int64), np.array(numbers, np.int32)

    def _free_numbers(self, name: str, count: int) -> list[int]:
        """The `count` smallest numbers k, from 1, for which no read has the name `name_k`."""
        free: list[int] = []
        tried = 0
        while len(free) < count:
            # As many again as were tried, so that a long run of taken numbers takes few rounds.
            more = min(max(count - len(free), tried), _AT_A_TIME)
            numbers = range(tried + 1, tried + 1 + more)
            taken = set(self._taken(f"{name}_{number}" for number in numbers))
            free += [number for number in numbers if f"{name}_{number}" not in taken]
            tried += more
        return free[:count]

    def _taken(self, names: Iterator[str]) -> Iterator[str]:
        """Those of `names` that a read of the drop has."""
        while some := list(islice(names, _AT_A_TIME)):
            wanted = self.hashing(some)
            starts = np.minimum(np.searchsorted(self.hashes, wanted, "left"), len(self.hashes) - 1)
            for position in np.flatnonzero(self.hashes[starts] == wanted).tolist():
                if self.first_of(some[position]) is not None:
                    yield some[position]
