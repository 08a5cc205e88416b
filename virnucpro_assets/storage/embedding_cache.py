"""The cache of embeddings: rows computed for one drop, kept for every drop with the same sequence.

The key of a row is a digest of its sequence; its namespace, a folder, is named by a digest of everything else that
determines its numbers. Rows are stored in segments: a segment is an immutable file with what one part computed. It is
two NumPy arrays, one after the other: the sorted keys, and the rows, each after a digest of namespace, key and numbers.
The file is named by a digest of the namespace and the keys. So keys are checked when they are read, and each row on its
own, without reading the rest of the file.

The cache never exceeds its limit: a writer holds a lock, and first removes the least recently used segments. A use sets
the file's time, which only affects what is removed. Readers hold no lock: an open file stays readable when it is
removed, and the rows of a removed file count as missing.
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
from virnucpro_assets.storage.provenance import Recipe

SEGMENT = re.compile(r"[0-9a-f]{64}\.npy")
KEY_SIZE = 16
FIELDS_NOT_AFFECTING_VALUES = {"index_digest", "token_budget", "packs_per_part", "ranks", "cached"}

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class EmbeddingCache:
    """The folder of a cache, and how many bytes its files may take."""

    folder: Path
    limit: int

    @property
    def lock(self) -> Path:
        """Its lock, beside the folder: the folder may be removed while the lock is held."""
        return self.folder.with_name(f"{self.folder.name}.lock")


def cache_namespace(recipe: Recipe) -> str:
    """A digest of what determines the numbers of a row besides its sequence, 64 hexadecimal digits.

    That is the recipe without the index, the packs and the ranks, which only change a row's last bits.
    """
    fields = recipe.model_dump(exclude=FIELDS_NOT_AFFECTING_VALUES)
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def keys_of(sequences: Ragged) -> Keys:
    """uint64 [n, 2]: the first 16 bytes of BLAKE2b of each sequence."""
    digests = (
        hashlib.blake2b(sequences[index], digest_size=KEY_SIZE).digest() for index in range(len(sequences))
    )
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def keep_rows(
    cache: EmbeddingCache, namespace: str, keys: Keys, rows: npt.NDArray[np.float32]
) -> Path | None:
    """Write `rows`, float32 [n, width], as a segment; returns its path, None without rows or without space for them."""
    keys, first = np.unique(keys, axis=0, return_index=True)
    if not len(keys):
        return None
    rows = np.ascontiguousarray(rows[first], "<f4")
    stored = np.empty(len(keys), row_type(rows.shape[1]))
    stored["row"] = rows
    digests = [
        row_digest(namespace, key.tobytes(), row.tobytes()) for key, row in zip(keys, rows, strict=True)
    ]
    stored["digest"] = np.array(digests, f"V{KEY_SIZE}")
    before_keys, before_rows = headers(len(keys), rows.shape[1])
    pieces = [before_keys, keys.tobytes(), before_rows, stored.tobytes()]
    target = cache.folder / namespace / segment_name(namespace, keys)
    with locked(cache.lock, "a device process", "wait"):
        if not target.exists():
            if not _free_space(cache, sum(map(len, pieces))):
                return None
            with atomic_file(target) as stream:
                stream.writelines(pieces)
    return target


def segment_name(namespace: str, keys: Keys) -> str:
    """The name of the segment with these sorted keys."""
    digest = hashlib.sha256(namespace.encode())
    digest.update(np.ascontiguousarray(keys, "<u8").data)
    return f"{digest.hexdigest()}.npy"


def row_digest(namespace: str, key: bytes, row: bytes) -> bytes:
    """16 bytes that change with any byte of a row, its key or its namespace."""
    digest = hashlib.blake2b(namespace.encode(), digest_size=KEY_SIZE)
    digest.update(key)
    digest.update(row)
    return digest.digest()


def row_type(width: int) -> np.dtype[np.void]:
    """A row as it is stored: its digest, then `width` numbers."""
    return np.dtype([("digest", f"V{KEY_SIZE}"), ("row", "<f4", (width,))])


def headers(count: int, width: int) -> tuple[bytes, bytes]:
    """The NumPy headers before the keys and before the rows of a segment of `count` rows."""
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
    """The bytes of all files of a cache, without its lock."""
    return sum(size for _, size, _ in _files(folder))


def _free_space(cache: EmbeddingCache, size: int) -> bool:
    """Remove the least recently used segments until `size` more bytes fit the limit; returns whether they do."""
    files = list(_files(cache.folder))
    for path, _, _ in files:
        if TEMPORARY_MARK in path.name:
            # Writers hold the lock that is held here, so this was left by a killed process.
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
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if path.suffix == ".lock":
                continue
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            yield path, found.st_size, found.st_mtime_ns
