"""HDF5 files with a digest of their own content.

HDF5 allows a user block before its data. Here it is one line of text with the SHA-256 of every byte after it, so that
damage is found without any other file, and every HDF5 reader can still open the file.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from virnucpro_assets.errors import DamagedFileError
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.digests import FileRecord, record_of_bytes

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
            found=f"content that does not match the SHA-256 in its first {SEAL_SIZE} bytes",
            expected="an undamaged file",
            advice="Materialise it again.",
        )
    with h5py.File(io.BytesIO(image), "r") as file:
        yield file, record_of_bytes(content)


def _seal(image: bytes) -> bytes:
    return (_MARK + hashlib.sha256(image).hexdigest().encode() + b"\n").ljust(SEAL_SIZE, b"\0")
