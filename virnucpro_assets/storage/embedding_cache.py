"""The cache of embeddings: rows computed for one drop, kept for every drop that holds the same sequence.

A row is found by its key, a digest of its sequence, in a folder named by a digest of all else that
decides its numbers. It lies in a segment: an immutable file of what one part computed, written once.
A segment is two NumPy arrays, one after the other: the keys, sorted, and the rows, each behind a digest
of folder, key and numbers. The name of the file is a digest of the folder and the keys. So keys are
checked as they are read and a row by itself, without a look at the rest of the file.

The cache never holds more than its limit: whoever writes holds a lock, and first removes the segments
that were used longest ago. A use sets the file's time, which decides what is removed and never
what is valid. A reader holds no lock: a file that it opened stays readable to it when it is removed, and one
that is gone holds nothing.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.files.atomic import TEMPORARY_MARK, atomic_file
from virnucpro_assets.files.locks import locked
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.recipe import Recipe

SEGMENT = re.compile(r"[0-9a-f]{64}\.npy")
KEY_SIZE = 16
DECIDES_NO_NUMBER = {"index_digest", "token_budget", "packs_per_part", "ranks", "cached"}

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class EmbeddingCache:
    """Where a cache lies, and how many bytes its files may take."""

    folder: Path
    limit: int

    @property
    def lock(self) -> Path:
        """Its lock, which lies beside the folder: the folder may be removed while the lock is held."""
        return self.folder.with_name(f"{self.folder.name}.lock")


def maker_of(recipe: Recipe) -> str:
    """What decides the numbers of a row beside its sequence, as 64 hexadecimal digits.

    It is the recipe without the index, the packs and the ranks, which only change a row's last bits.
    """
    fields = recipe.model_dump(exclude=DECIDES_NO_NUMBER)
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def keys_of(sequences: Ragged) -> Keys:
    """uint64 [n, 2]: the first 16 bytes of BLAKE2b of each sequence."""
    digests = (
        hashlib.blake2b(sequences[index], digest_size=KEY_SIZE).digest() for index in range(len(sequences))
    )
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def keep_rows(cache: EmbeddingCache, maker: str, keys: Keys, rows: npt.NDArray[np.float32]) -> Path | None:
    """Write `rows`, float32 [n, width], as a segment, and return its path; None if there are none, or no room."""
    keys, first = np.unique(keys, axis=0, return_index=True)
    if not len(keys):
        return None
    rows = np.ascontiguousarray(rows[first], "<f4")
    stored = np.empty(len(keys), row_type(rows.shape[1]))
    stored["row"] = rows
    digests = [row_digest(maker, key.tobytes(), row.tobytes()) for key, row in zip(keys, rows, strict=True)]
    stored["digest"] = np.array(digests, f"V{KEY_SIZE}")
    before_keys, before_rows = headers(len(keys), rows.shape[1])
    pieces = [before_keys, keys.tobytes(), before_rows, stored.tobytes()]
    target = cache.folder / maker / segment_name(maker, keys)
    with locked(cache.lock, "a device process", "wait", lambda _: None):
        if not target.exists():
            if not _make_room(cache, sum(map(len, pieces))):
                return None
            with atomic_file(target) as stream:
                stream.writelines(pieces)
    return target


def segment_name(maker: str, keys: Keys) -> str:
    """The name of the segment that holds these keys, sorted."""
    digest = hashlib.sha256(maker.encode())
    digest.update(np.ascontiguousarray(keys, "<u8").data)
    return f"{digest.hexdigest()}.npy"


def row_digest(maker: str, key: bytes, row: bytes) -> bytes:
    """16 bytes that change with any byte of a row, its key or its maker."""
    digest = hashlib.blake2b(maker.encode(), digest_size=KEY_SIZE)
    digest.update(key)
    digest.update(row)
    return digest.digest()


def row_type(width: int) -> np.dtype[np.void]:
    """A row as it is stored: its digest, then `width` numbers."""
    return np.dtype([("digest", f"V{KEY_SIZE}"), ("row", "<f4", (width,))])


def headers(count: int, width: int) -> tuple[bytes, bytes]:
    """What stands before the keys and before the rows of a segment of `count` rows."""
    return _header(np.dtype("<u8"), (count, 2)), _header(row_type(width), (count,))


def _header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def cache_size(folder: Path) -> int:
    """The bytes of all files of a cache, its lock left out."""
    return sum(size for _, size, _ in _files(folder))


def _make_room(cache: EmbeddingCache, size: int) -> bool:
    """Remove what was used longest ago until `size` bytes more are within the limit; whether they are."""
    files = list(_files(cache.folder))
    for path, _, _ in files:
        if TEMPORARY_MARK in path.name:
            # Whoever writes holds the lock that is held here: it is left by a killed process.
            path.unlink(missing_ok=True)
    kept = [(used, path, taken) for path, taken, used in files if TEMPORARY_MARK not in path.name]
    total = sum(taken for _, _, taken in kept)
    if size > cache.limit - sum(taken for _, path, taken in kept if not SEGMENT.fullmatch(path.name)):
        return False
    for _, path, taken in sorted(kept):
        if total + size <= cache.limit:
            break
        if SEGMENT.fullmatch(path.name):
            path.unlink(missing_ok=True)
            total -= taken
    return True


def _files(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Path, size and time of last use (ns) of each file of a cache; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if path.suffix == ".lock":
                continue
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            yield path, found.st_size, found.st_mtime_ns
