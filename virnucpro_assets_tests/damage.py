"""Damage to stored files."""

from pathlib import Path


def flip_byte(path: Path, place: int, mask: int = 1) -> bytes:
    """Change the bits of `mask` in the byte at `place`, negative from the end; returns what the file now holds."""
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(content)
    return bytes(content)
