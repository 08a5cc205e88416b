"""Reading the cache of embeddings: which sequences it knows, and their rows.

Of each segment the keys are read once, and stay in memory, some 24 bytes a row; rows are read when they
are asked for. A segment that is not what its name says, or a row that is not what its digest says, is
damage: the segment is set aside, and what it held counts as not known. So a wrong row is never given.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import DamagedFileError, describe_os_error
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.locks import locked
from virnucpro_assets.storage.embedding_cache import (
    KEY_SIZE,
    SEGMENT,
    EmbeddingCache,
    Keys,
    headers,
    row_digest,
    row_type,
    segment_name,
)


@dataclass(frozen=True)
class FoundRows:
    """The positions of known keys, int64 [m] ascending, their rows, float32 [m, width], and what to say."""

    positions: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]
    said: list[str]


@dataclass
class _Table:
    """All keys of some segments, sorted by their first half: where the row of each is.

    Of two keys with one first half only one is found: among a billion that happens once in forty caches.
    """

    keys: Keys = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    segments: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    rows: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def chosen(self, order: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "_Table":
        return _Table(self.keys[order], self.segments[order], self.rows[order])

    def joined(self, others: list["_Table"]) -> "_Table":
        tables = [self, *others]
        whole = _Table(
            np.concatenate([table.keys for table in tables]),
            np.concatenate([table.segments for table in tables]),
            np.concatenate([table.rows for table in tables]),
        )
        # Runs that are sorted already are joined in one pass by a stable sort.
        return whole.chosen(np.argsort(whole.keys[:, 0], kind="stable"))


class CachedRows:
    """The rows of `width` numbers that a cache holds of one maker."""

    def __init__(self, cache: EmbeddingCache, maker: str, width: int) -> None:
        self._cache, self._maker, self._width = cache, maker, width
        self._folder = cache.folder / maker
        self._numbers: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._next = 0
        self._table = _Table()

    def find(self, keys: Keys) -> FoundRows:
        """Which of `keys`, uint64 [n, 2], are known, with their rows."""
        said = self._look()
        places = np.searchsorted(self._table.keys[:, 0], keys[:, 0])
        within = places < len(self._table.keys)
        known = np.zeros(len(keys), bool)
        known[within] = (self._table.keys[places[within]] == keys[within]).all(axis=1)
        segments, rows = self._table.segments[places[known]], self._table.rows[places[known]]
        positions, taken = np.flatnonzero(known), np.empty((int(known.sum()), self._width), np.float32)
        read = np.zeros(len(positions), bool)
        for name, number in list(self._numbers.items()):
            asked = np.flatnonzero(segments == number)
            if len(asked):
                try:
                    taken[asked] = self._read(name, keys[positions[asked]], rows[asked])
                    read[asked] = True
                except FileNotFoundError:
                    self._forget([name])
                except (DamagedFileError, OSError) as error:
                    said.append(self._put_away(name, error))
        return FoundRows(positions[read], taken[read], said)

    def _look(self) -> list[str]:
        """Take up the segments that are new, forget those that are gone; what to say of it."""
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        names = {path.name for path in paths if SEGMENT.fullmatch(path.name)}
        self._forget([name for name in self._numbers if name not in names])
        said, added = [], list[_Table]()
        for name in sorted(names - self._numbers.keys()):
            try:
                keys = self._keys(name)
            except FileNotFoundError:
                continue
            except (DamagedFileError, OSError) as error:
                said.append(self._put_away(name, error))
                continue
            count = self._counts[name] = len(keys)
            self._numbers[name] = self._next
            added.append(_Table(keys, np.full(count, self._next, np.int32), np.arange(count, dtype=np.int32)))
            self._next += 1
        if added:
            self._table = self._table.joined(added)
        return said

    def _forget(self, names: list[str]) -> None:
        gone = [self._numbers.pop(name) for name in names if name in self._numbers]
        if gone:
            self._table = self._table.chosen(~np.isin(self._table.segments, gone))

    def _put_away(self, name: str, error: Exception) -> str:
        """Leave a segment out from now on, and set it aside if it is damaged; what to say of it."""
        path = self._folder / name
        self._forget([name])
        if isinstance(error, OSError):
            return f"the embedding cache goes on without a segment: {describe_os_error(error)}"
        with locked(self._cache.lock, "a device process", "wait", lambda _: None):
            # Another process may have found the damage too, or room may have been made.
            if not path.exists():
                return f"the embedding cache goes on without a segment: {error}"
            return f"{error} It was set aside as {set_aside(path, 'quarantine')}, and its rows are computed again"

    def _keys(self, name: str) -> Keys:
        """uint64 [n, 2], sorted: the keys of a segment, checked."""
        path = self._folder / name
        with path.open("rb") as stream:
            return self._checked_keys(path, stream)

    def _checked_keys(self, path: Path, stream: IO[bytes]) -> Keys:
        before_keys, before_rows = headers(0, self._width)
        size = os.fstat(stream.fileno()).st_size
        count, rest = divmod(
            size - len(before_keys) - len(before_rows), 2 * 8 + row_type(self._width).itemsize
        )
        # What the headers must be follows from the size: nothing that may be damaged is ever interpreted.
        if rest == 0 and count > 0:
            before_keys, before_rows = headers(count, self._width)
            content = stream.read(len(before_keys) + count * 2 * 8 + len(before_rows))
            if content.startswith(before_keys) and content.endswith(before_rows):
                keys = np.frombuffer(content, "<u8", count * 2, len(before_keys)).reshape(-1, 2)
                if segment_name(self._maker, keys) == path.name:
                    return keys
        raise DamagedFileError(
            f"{path}: found keys that are not those of its name; expected a whole segment."
        )

    def _read(self, name: str, keys: Keys, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """float32 [m, width]: some rows of a segment, each checked; the segment counts as used now."""
        path, size = self._folder / name, row_type(self._width).itemsize
        taken = np.empty((len(rows), self._width), np.float32)
        with path.open("rb") as stream:
            descriptor = stream.fileno()
            first = _first_row(self._counts[name], self._width)
            for place, (key, row) in enumerate(zip(keys, rows.tolist(), strict=True)):
                content = os.pread(descriptor, size, first + row * size)
                numbers = content[KEY_SIZE:]
                if content[:KEY_SIZE] != row_digest(self._maker, key.tobytes(), numbers):
                    raise DamagedFileError(f"{path}: found a row that does not match its digest.")
                taken[place] = np.frombuffer(numbers, "<f4")
            with suppress(PermissionError):
                # Another user's file gives its rows; only its turn to be removed may come sooner.
                os.utime(descriptor)
        return taken


def _first_row(count: int, width: int) -> int:
    return sum(map(len, headers(count, width))) + count * 2 * 8
