"""Decompressed streams: gzip (BGZF too), zstd, bzip2, xz, in any number of members or frames, or plain.

The first bytes of a file decide how it is compressed, not its name. A generator yields blocks of decompressed bytes;
a raw stream passes them to a buffered reader that can peek. A file that cannot be opened or is damaged raises an
InputError that names it. What no format can show is a cut exactly between two members of gzip (or frames of zstd).
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import zstandard
from isal import isal_zlib

from virnucpro_assets.errors import InputError, excerpt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The bytes that a peek at the start of a stream shows.
HEAD_BYTES = 256 * 1024

# The largest window of zstd (`zstd --long=31`). Memory is used only as the content fills it.
_LONGEST_ZSTD_WINDOW = 2**31


def _zstd() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=_LONGEST_ZSTD_WINDOW).decompressobj()


# The first bytes of a member, and its decompressor, with `decompress`, `eof`, `unused_data` as those of bz2.
_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: isal_zlib.decompressobj(wbits=16 + zlib.MAX_WBITS),
    b"\x28\xb5\x2f\xfd": _zstd,
    # Skippable frames of zstd.
    **{bytes([low, 0x2A, 0x4D, 0x18]): _zstd for low in range(0x50, 0x60)},
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
    # xz's predecessor, .lzma
    b"\x5d\x00\x00": lzma.LZMADecompressor,
}
_MAGIC_BYTES = max(map(len, _DECOMPRESSORS))
# Ignored between and after members: tapes pad with NUL, editors and scripts add a line end.
_PADDING = b"\x00\t\n\r "
# isal's type stubs call its exception class an exception, hence the cast.
_DAMAGE = (
    OSError,
    zlib.error,
    cast(type[Exception], isal_zlib.error),
    zstandard.ZstdError,
    lzma.LZMAError,
)
# Parts of zstd's messages about files that are whole but cannot be decompressed.
_WHOLE_BUT_REFUSED = {
    "Dictionary mismatch": ("zstd data that need a dictionary", "Unpack it with that (`zstd -d -D`)."),
    "too much memory": (
        "zstd data with a window over 2 GiB",
        "Unpack it, and pack it with `--long=31` or less.",
    ),
}
_PLAIN_BLOCK = 128 * 1024
# Small, because its decompressed content can be much larger and is in memory at once.
_COMPRESSED_BLOCK = 16 * 1024


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


def is_compressed(path: Path) -> bool:
    """Whether the file at `path` begins like gzip (BAM too), zstd, bzip2 or xz."""
    with path.open("rb") as file:
        return _decompressor(file.read(_MAGIC_BYTES)) is not None


def _decompressor(head: bytes) -> Callable[[], Any] | None:
    return next((new for magic, new in _DECOMPRESSORS.items() if head.startswith(magic)), None)


def _blocks(file: io.BufferedReader) -> Iterator[bytes]:
    if _decompressor(file.peek(_MAGIC_BYTES)) is None:
        return iter(lambda: file.read(_PLAIN_BLOCK), b"")
    return _decompressed_blocks(file)


def _decompressed_blocks(file: io.BufferedReader) -> Iterator[bytes]:
    """The content of all members; EOFError if the last one is cut, _ForeignBytesError if other bytes follow one."""
    member, compressed = None, b""
    while compressed := compressed or file.read(_COMPRESSED_BLOCK):
        if member is None:
            compressed = compressed.lstrip(_PADDING)
            if compressed:
                compressed += file.read(max(0, _MAGIC_BYTES - len(compressed)))
            else:
                continue
            if (new := _decompressor(compressed)) is None:
                raise _ForeignBytesError(compressed[:20])
            member = new()
        yield member.decompress(compressed)
        compressed = member.unused_data if member.eof else b""
        if member.eof:
            member = None
    if member is not None:
        raise EOFError("the last member is cut")


class _ForeignBytesError(Exception):
    """The bytes after the end of compressed data are no member; `first` are the first of them."""

    def __init__(self, first: bytes) -> None:
        super().__init__(first)
        self.first = first


class _BlockStream(io.RawIOBase):
    """A raw stream over blocks of bytes that turns damage into an InputError naming the file."""

    def __init__(self, path: Path, blocks: Iterator[bytes]) -> None:
        self._path = path
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the whole of `buffer` if the stream has that many bytes, so that a peek shows the whole head."""
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
        except _ForeignBytesError as error:
            raise InputError(
                self._path,
                found=f"other content after the end of its compressed data, {error.first!r} …",
                expected="compressed data up to the end",
                advice="Unpack the file, add what follows if it is reads, and pack it again.",
            ) from error
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno:
                # The disk, not the content.
                error.filename = str(self._path)
                raise
            raise self._undecodable(str(error)) from error

    def _undecodable(self, message: str) -> InputError:
        for part, (found, advice) in _WHOLE_BUT_REFUSED.items():
            if part in message:
                return InputError(
                    self._path, found=found, expected="data that unpack by themselves", advice=advice
                )
        return self._damaged(f"damaged data ({excerpt(message)})")

    def _damaged(self, found: str) -> InputError:
        return InputError(
            self._path,
            found=found,
            expected="a whole file",
            advice="Copy the file again; it was cut or changed on its way.",
        )
