"""Decompressed streams: gzip (BGZF and several members too), zstd (several frames too) or plain.

What a file is packed with is read from its first bytes, not from its name. Blocks of
decompressed bytes come from a generator; a small raw stream hands them to a buffered reader
that can peek. A file that cannot be opened or is damaged ends as an InputError that names it.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import zstandard
from isal import igzip, isal_zlib

from virnucpro_assets.errors import InputError, excerpt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# What a look at the start of a stream can see.
HEAD_BYTES = 256 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE_MAGICS = tuple(bytes([low, 0x2A, 0x4D, 0x18]) for low in range(0x50, 0x60))
# isal's type stubs call its exception class an exception, hence the cast.
_DAMAGE = (OSError, zlib.error, cast(type[Exception], isal_zlib.error), zstandard.ZstdError)
_PLAIN_BLOCK = 128 * 1024
# Small, because a zstd block can grow a lot and comes out whole.
_ZSTD_BLOCK = 16 * 1024


@contextmanager
def open_decompressed(path: Path) -> Iterator[io.BufferedReader]:
    """Open `path` for reading its decompressed bytes; `peek` shows the first HEAD_BYTES."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(
            path,
            found=(error.strerror or "an error").lower(),
            expected="a readable file of reads",
            advice="Give the path of a FASTA, FASTQ or BAM file.",
        ) from error
    with file:
        stream: io.BufferedReader = io.BufferedReader(_BlockStream(path, _blocks(file)), HEAD_BYTES)
        with stream:
            yield stream


def is_packed(path: Path) -> bool:
    """Whether the file at `path` begins like gzip (BAM too) or zstd."""
    with path.open("rb") as file:
        return file.read(4).startswith((_GZIP_MAGIC, _ZSTD_MAGIC, *_ZSTD_SKIPPABLE_MAGICS))


def _blocks(file: io.BufferedReader) -> Iterator[bytes]:
    head = file.peek(4)
    if head.startswith(_GZIP_MAGIC):
        with igzip.IGzipFile(fileobj=file) as stream:  # type: ignore[no-untyped-call]
            yield from iter(lambda: stream.read(_PLAIN_BLOCK), b"")
    elif head.startswith((_ZSTD_MAGIC, *_ZSTD_SKIPPABLE_MAGICS)):
        yield from _zstd_blocks(file)
    else:
        yield from iter(lambda: file.read(_PLAIN_BLOCK), b"")


def _zstd_blocks(file: io.BufferedReader) -> Iterator[bytes]:
    """The frames of a zstd file; zstandard's own reader would take a cut file for a whole one."""
    decompressor = zstandard.ZstdDecompressor()
    frame = None
    for block in iter(lambda: file.read(_ZSTD_BLOCK), b""):
        packed = block
        while packed:
            frame = frame or decompressor.decompressobj()
            yield frame.decompress(packed)
            packed = frame.unused_data
            if frame.eof:
                frame = None
    if frame is not None:
        raise EOFError("the last zstd frame has no end")


class _BlockStream(io.RawIOBase):
    """A raw stream over blocks of bytes that turns damage into an InputError naming the file."""

    def __init__(self, path: Path, blocks: Iterator[bytes]) -> None:
        self._path = path
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill `buffer` whole if the stream has that much left, so that a peek sees the whole head."""
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target):
            if not self._rest:
                block = self._next_block()
                if block is None:
                    break
                self._rest = memoryview(block)
            taken = self._rest[: len(target) - filled]
            target[filled : filled + len(taken)] = taken
            self._rest = self._rest[len(taken) :]
            filled += len(taken)
        return filled

    def _next_block(self) -> bytes | None:
        try:
            return next(self._blocks, None)
        except EOFError as error:
            raise self._damaged("the end of the file inside its compressed data") from error
        except _DAMAGE as error:
            raise self._damaged(f"damaged data ({excerpt(error)})") from error

    def _damaged(self, found: str) -> InputError:
        return InputError(
            self._path,
            found=found,
            expected="a whole file",
            advice="Copy the file again; it was cut or changed on its way.",
        )
