"""Lists of checksums that come with a delivery: `md5sum.txt`, `NAME.md5`, `SHA256SUMS` and the like.

A list applies to the files of reads that it names, in its folder and in the folders below, whatever folders it has
before their names. A digest of 32, 40 or 64 hexadecimal digits is MD5, SHA-1 or SHA-256.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.entries import key_of_file

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}
_LIST = re.compile(r"md5|sha-?1|sha-?256|checksum", re.IGNORECASE)
_LARGEST = 1 << 20

# `DIGEST  NAME` of md5sum, with `*` before the name in binary mode; `MD5 (NAME) = DIGEST` of BSD; `NAME DIGEST`;
# the digest alone in NAME.md5.
_DIGEST = r"(?P<digest>[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})"
_LINES = (
    re.compile(rf"\\?{_DIGEST}(?:[\s,;]+\*?(?P<name>.+))?"),
    re.compile(rf"[A-Z0-9-]+ ?\((?P<name>.+)\) ?= ?{_DIGEST}"),
    re.compile(rf"(?P<name>.+?)[\s:,;=]+{_DIGEST}"),
)


def check_listed(files: Sequence[Path], root: Path) -> None:
    """Raise InputError if the digest of one of `files` in the drops folder `root` differs from a list beside it."""
    for folder in sorted({parent for file in files for parent in _folders(file, root)}):
        by_name = {file.name: file for file in files if file.is_relative_to(folder)}
        for path in _lists(folder):
            for name, expected in _entries(path):
                if file := by_name.get(name):
                    _check(file, expected, path)


def _folders(file: Path, root: Path) -> list[Path]:
    """The folders of a file up to that of its delivery; the drops folder for a file directly in it."""
    return [folder for folder in file.parents if folder.is_relative_to(root) and folder != root] or [
        file.parent
    ]


def _lists(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if _LIST.search(path.name)
        and key_of_file(path.name) is None
        and path.is_file()
        and path.stat().st_size <= _LARGEST
    )


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """File names without folders, and digests in lower case."""
    for line in path.read_text("utf-8", errors="surrogateescape").lstrip("\ufeff").splitlines():
        match = next((match for pattern in _LINES if (match := pattern.fullmatch(line.strip()))), None)
        if match:
            name = match["name"] or path.name.rpartition(".")[0]
            yield re.split(r"[/\\]", name.strip().strip("\"'"))[-1], match["digest"].lower()


def _check(file: Path, expected: str, path: Path) -> None:
    algorithm = _ALGORITHMS[len(expected)]
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise InputError(
            file,
            found=f"{algorithm.upper()} {found}",
            expected=f"{expected}, as {path.name} says",
            advice=f"Copy the file again; or correct or remove {path}.",
        )
