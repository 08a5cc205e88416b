"""Digests of contents that may be larger than what can be read at one go.

A pass goes through files block by block and keeps one chained SHA-256: that of the former
value followed by the next block. So a pass can stop after any block, be written down in a few
letters, and go on later in another process; hashlib's own state cannot. The result is equal
for equal files, names and order, and is no file's own SHA-256.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

BLOCK_BYTES = 16 * 1024 * 1024
_READ_BYTES = 1024 * 1024


class ContentPass(BaseModel):
    """How far a pass is: blocks done of the file at this position, and the chain so far, in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: int = 0
    block: int = 0
    chain: str = ""


def go_on(
    files: Sequence[tuple[str, Path]], former: ContentPass, deadline: float, block_bytes: int = BLOCK_BYTES
) -> tuple[ContentPass, str | None]:
    """Go on with a pass over (label, path) pairs, at least one block, until `deadline` (time.monotonic).

    Returns where it stopped, and the content's digest (32 hexadecimal digits) if it is through.
    Raises OSError if a file cannot be read.
    """
    file, block, chain = former.file, former.block, former.chain
    while file < len(files):
        label, path = files[file]
        with path.open("rb", buffering=0) as stream:
            stream.seek(block * block_bytes)
            while True:
                step = hashlib.sha256(f"{chain}\0{label}\0{block}\0".encode())
                taken = 0
                while taken < block_bytes and (piece := stream.read(min(_READ_BYTES, block_bytes - taken))):
                    step.update(piece)
                    taken += len(piece)
                chain = step.hexdigest()
                block += 1
                if taken < block_bytes:
                    break
                if time.monotonic() >= deadline:
                    return ContentPass(file=file, block=block, chain=chain), None
        file, block = file + 1, 0
        if file < len(files) and time.monotonic() >= deadline:
            return ContentPass(file=file, block=block, chain=chain), None
    end = ContentPass(file=file, block=0, chain=chain)
    return end, hashlib.sha256(f"{chain}\0{len(files)}".encode()).hexdigest()[:32]
