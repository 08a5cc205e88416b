"""HDF5 files that carry the digest of their own content.

HDF5 leaves room for a user block before its data. Ours is one line of text with the SHA-256
of every byte after it, so that a damaged file is found without looking anywhere else, and
every HDF5 reader still opens it.
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

    The file is made in memory: the bytes depend on the content alone, not on clock or path.
    """
    with h5py.File("in-memory", "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image = file.id.get_file_image()
    # Not joined: a copy would hold up the thread that computes beside this one.
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
            expected="a whole file",
            advice="Materialise it again.",
        )
    with h5py.File(io.BytesIO(image), "r") as file:
        yield file, record_of_bytes(content)


def _seal(image: bytes) -> bytes:
    return (_MARK + hashlib.sha256(image).hexdigest().encode() + b"\n").ljust(SEAL_SIZE, b"\0")
