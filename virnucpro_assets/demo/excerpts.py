"""Excerpts: the shipped letters of the regions, one gzipped FASTA file for each role."""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from virnucpro_assets.files.atomic import write_bytes
from virnucpro_assets.vocabulary import Label

Role = Literal["training", "validation", "held_out"]
"""What a piece of a genome is for: to teach, to stop the training, or to be a read of the drop."""
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A region's letters. `start` counts from 0 in the whole sequence of `source`."""

    source: str
    start: int
    label: Label
    letters: str

    @property
    def header(self) -> str:
        """`source:first-last label`, counted from 1."""
        return f"{self.source}:{self.start + 1}-{self.start + len(self.letters)} {self.label}"


def excerpts_file(folder: Path, role: Role) -> Path:
    """Where the excerpts of `role` are in the data folder."""
    return folder / f"{role}.fa.gz"


def write_excerpts(folder: Path, role: Role, excerpts: Iterable[Excerpt]) -> None:
    """Write the excerpts of `role`, one line of letters each."""
    text = "".join(f">{excerpt.header}\n{excerpt.letters}\n" for excerpt in excerpts)
    write_bytes(excerpts_file(folder, role), gzipped(text))


def read_excerpts(folder: Path, role: Role) -> list[Excerpt]:
    """Read the excerpts of `role`, in their order."""
    lines = gzip.decompress(excerpts_file(folder, role).read_bytes()).decode("ascii").splitlines()
    return [_excerpt(header, letters) for header, letters in zip(lines[::2], lines[1::2], strict=True)]


def gzipped(text: str) -> bytes:
    """The same bytes for the same text whenever it is compressed: without a time in the header."""
    return gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0)


def _excerpt(header: str, letters: str) -> Excerpt:
    place, label = header.removeprefix(">").split(" ")
    source, _, span = place.partition(":")
    return Excerpt(
        source, int(span.partition("-")[0]) - 1, "virus" if label == "virus" else "others", letters
    )
