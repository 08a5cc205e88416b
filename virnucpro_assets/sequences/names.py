"""Repeated read names, told apart (signatures first; the bounded form follows)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DuplicatePolicy = Literal["suffix", "refuse"]


@dataclass(frozen=True)
class Renames:
    """Which reads get another name; `examples` are a few (old, new), `count` is how many."""

    count: int = 0
    examples: tuple[tuple[str, str], ...] = ()

    def apply(self, first: int, names: Sequence[str]) -> list[str]:
        """The final names of consecutive reads, the first of which is read `first` of the drop."""
        return list(names)


class ReadNames:
    """Collects the names of a drop in order; `folder` (exists, empty) takes what does not stay in memory."""

    def __init__(self, folder: Path, *, policy: DuplicatePolicy = "suffix") -> None:
        self._folder = folder

    def add(self, names: Sequence[str]) -> None:
        """Append the names of the next reads."""

    def resolve(self) -> Renames:
        """Find the repeats. With policy "refuse" the first repeat is an InputError. Call once, at the end."""
        return Renames()
