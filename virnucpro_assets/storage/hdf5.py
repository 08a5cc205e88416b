"""HDF5 files with a digest of their own content, and views of the rows of many of them.

HDF5 allows a user block before its data. In a sealed file it is one line of text with the SHA-256 of every byte after
it, so that damage is found without any other file, and every HDF5 reader can still open the file.

A view is a virtual dataset: its sources have paths relative to it, so that a folder can be moved as a whole, and no row
is copied. HDF5 reads a missing source as the fill value without an error; the fill value is NaN, and every reader of a
view checks its sources first.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import DamagedFileError, counted
from virnucpro_assets.files.atomic import atomic_file, atomic_path
from virnucpro_assets.files.digests import FileRecord, record_of_bytes, record_of_file

SEAL_SIZE = 512
_MARK = b"virnucpro sealed hdf5 sha256="


def write_sealed(path: Path, fill: Callable[[h5py.File], None]) -> FileRecord:
    """Write the HDF5 file that `fill` makes, sealed, and return its size and SHA-256.

    The file is made in memory; its bytes depend on the content only, not on time or path.
    """
    with h5py.File("in-memory", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image = file.id.get_file_image()
    # Not concatenated: a copy would delay the thread that computes at the same time.
    seal = _seal(image)
    with atomic_file(path) as stream:
        stream.write(seal)
        stream.write(image)
    return record_of_bytes(seal, image)


@contextmanager
def open_sealed(path: Path) -> Iterator[tuple[h5py.File, FileRecord]]:
    """Open a sealed file after checking its seal; DamagedFileError if it does not match."""
    content = path.read_bytes()
    seal, image = content[:SEAL_SIZE], content[SEAL_SIZE:]
    if seal != _seal(image):
        raise DamagedFileError(
            path,
            found=f"content that does not match the SHA-256 in its first {counted(SEAL_SIZE, 'byte')}",
            expected="an undamaged file",
            advice="Materialise it again.",
        )
    with h5py.File(io.BytesIO(image), "r") as file:
        yield file, record_of_bytes(content)


def _seal(image: bytes) -> bytes:
    return (_MARK + hashlib.sha256(image).hexdigest().encode() + b"\n").ljust(SEAL_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class ViewBlock:
    """The block of a view, from row `start` and column `left` on, that comes from one part."""

    part: Path
    start: int
    rows: int
    left: int
    width: int


def write_view(
    path: Path, rows: npt.NDArray[np.int64], width: int, blocks: Sequence[ViewBlock]
) -> FileRecord:
    """Write a view `embeddings` float32 [len(rows), width] and beside it `rows`, stored in full.

    Returns the size and SHA-256 of the view itself, without its sources.
    """
    layout = h5py.VirtualLayout(shape=(len(rows), width), dtype=np.float32)
    # Without the time of writing, so that the same view has the same digest.
    layout.dcpl.set_obj_track_times(False)
    for block in blocks:
        source = h5py.VirtualSource(
            str(block.part.relative_to(path.parent)),
            "embeddings",
            shape=(block.rows, block.width),
            dtype=np.float32,
        )
        layout[block.start : block.start + block.rows, block.left : block.left + block.width] = source
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", libver="latest") as file:
            file["rows"] = rows
            file.create_virtual_dataset("embeddings", layout, fillvalue=np.nan)
        return record_of_file(temporary)
