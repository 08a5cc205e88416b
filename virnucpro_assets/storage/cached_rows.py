"""Reading the cache of embeddings: which sequences it has, and their rows.

The keys of each segment are read once and stay in memory, about 24 bytes a row; rows are read on demand. A segment
that does not match its name, or a row that does not match its digest, is damaged: the segment is moved to quarantine,
and its rows count as missing. So a wrong row is never returned.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
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
    """The positions of the found keys, int64 [m] ascending, their embeddings, float32 [m, width], and warnings."""

    positions: npt.NDArray[np.int64]
    embeddings: npt.NDArray[np.float32]
    warnings: list[str]


_ENTRY = np.dtype([("first", "<u8"), ("second", "<u8"), ("segment", "<i4"), ("row", "<i4")])
"""Both halves of a key, and where its row is: the number of a segment, and the position in it."""


class CachedRows:
    """The rows of `width` numbers in one namespace of a cache."""

    def __init__(self, cache: EmbeddingCache, namespace: str, width: int) -> None:
        self._cache, self._namespace, self._width = cache, namespace, width
        self._folder = cache.folder / namespace
        self._numbers: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._next = 0
        # All keys, sorted by their first half. Of two keys with the same one only one is found: among a billion keys
        # that happens in one of forty caches.
        self._table = np.empty(0, _ENTRY)

    def find(self, keys: Keys) -> FoundRows:
        """Which of `keys`, uint64 [n, 2], the cache has, with their rows."""
        warnings = self._update()
        nearest = np.searchsorted(self._table["first"], keys[:, 0])
        known = nearest < len(self._table)
        entries = self._table[nearest[known]]
        known[known] = (entries["first"] == keys[known, 0]) & (entries["second"] == keys[known, 1])
        entries = self._table[nearest[known]]
        positions, taken = np.flatnonzero(known), np.empty((int(known.sum()), self._width), np.float32)
        read = np.zeros(len(positions), bool)
        for name, number in list(self._numbers.items()):
            wanted = np.flatnonzero(entries["segment"] == number)
            if len(wanted):
                try:
                    taken[wanted] = self._read(name, keys[positions[wanted]], entries["row"][wanted])
                    read[wanted] = True
                except FileNotFoundError:
                    self._forget([name])
                except (DamagedFileError, OSError) as error:
                    warnings.append(self._reject(name, error))
        return FoundRows(positions[read], taken[read], warnings)

    def _update(self) -> list[str]:
        """Read the keys of new segments, forget removed ones; returns warnings."""
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        names = {path.name for path in paths if SEGMENT.fullmatch(path.name)}
        self._forget([name for name in self._numbers if name not in names])
        warnings, tables = [], [self._table]
        for name in sorted(names - self._numbers.keys()):
            try:
                keys = self._keys(name)
            except FileNotFoundError:
                continue
            except (DamagedFileError, OSError) as error:
                warnings.append(self._reject(name, error))
                continue
            added = np.empty(len(keys), _ENTRY)
            added["first"], added["second"] = keys.T
            added["segment"], added["row"] = self._next, np.arange(len(keys))
            tables.append(added)
            self._numbers[name], self._counts[name] = self._next, len(keys)
            self._next += 1
        if len(tables) > 1:
            joined = np.concatenate(tables)
            # A stable sort merges sorted runs in one pass.
            self._table = joined[np.argsort(joined["first"], kind="stable")]
        return warnings

    def _forget(self, names: list[str]) -> None:
        gone = [self._numbers.pop(name) for name in names if name in self._numbers]
        if gone:
            self._table = self._table[~np.isin(self._table["segment"], gone)]

    def _reject(self, name: str, error: Exception) -> str:
        """Ignore a segment from now on, and move it to quarantine if it is damaged; returns a warning."""
        path = self._folder / name
        self._forget([name])
        if isinstance(error, OSError):
            return f"a segment of the embedding cache is not used: {describe_os_error(error)}"
        with locked(self._cache.lock, "a device process", "wait"):
            # Another process may have found the damage too, or removed the segment to free space.
            if not path.exists():
                return f"a segment of the embedding cache is not used: {error}"
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
        # The expected headers follow from the size: nothing that may be damaged is parsed.
        if rest == 0 and count > 0:
            before_keys, before_rows = headers(count, self._width)
            content = stream.read(len(before_keys) + count * 2 * 8 + len(before_rows))
            if content.startswith(before_keys) and content.endswith(before_rows):
                keys = np.frombuffer(content, "<u8", count * 2, len(before_keys)).reshape(-1, 2)
                if segment_name(self._namespace, keys) == path.name:
                    return keys
        raise DamagedFileError(
            path,
            found="keys that do not match its name",
            expected="an undamaged segment",
            advice="Check the disk.",
        )

    def _read(self, name: str, keys: Keys, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """float32 [m, width]: some rows of a segment, each checked; sets the segment's time of last use."""
        path, size = self._folder / name, row_type(self._width).itemsize
        taken = np.empty((len(rows), self._width), np.float32)
        with path.open("rb") as stream:
            descriptor = stream.fileno()
            first = _first_row(self._counts[name], self._width)
            for number, (key, row) in enumerate(zip(keys, rows.tolist(), strict=True)):
                content = os.pread(descriptor, size, first + row * size)
                numbers = content[KEY_SIZE:]
                if content[:KEY_SIZE] != row_digest(self._namespace, key.tobytes(), numbers):
                    raise DamagedFileError(
                        path,
                        found="a row that does not match its digest",
                        expected="an undamaged segment",
                        advice="Check the disk.",
                    )
                taken[number] = np.frombuffer(numbers, "<f4")
            with suppress(PermissionError):
                # A file of another user can be read; it may only be removed earlier.
                os.utime(descriptor)
        return taken


def _first_row(count: int, width: int) -> int:
    return sum(map(len, headers(count, width))) + count * 2 * 8
