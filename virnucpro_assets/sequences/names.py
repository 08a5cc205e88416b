"""Repeated read names get suffixes, without all names in memory.

The first read of a name keeps it; the next get `_1`, `_2` … in the order of the drop, skipping names that any read of
the drop has. Two reads of different names never get the same new name, because a new name without its last `_` and
number is the old one: so repeat j of a name gets the j-th smallest number that is free for that name.

`add` writes names and their 64-bit hashes to files in the caller's folder. `resolve` sorts the hashes in memory
(24 bytes a read while sorting, 16 after), and reads only names again whose hash occurs more than once.

Mates without a partner are counted by 64-bit hashes of their names without `/1` or `/2`, 8 bytes a mate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import InputError, counted, excerpt
from virnucpro_assets.sequences.repeats import (
    HashedNames,
    Hashing,
    NameReader,
    Numbers,
    Positions,
    SpilledNames,
    append,
)

DuplicatePolicy = Literal["suffix", "refuse"]

_EXAMPLES = 5


def hash_names(names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """uint64 [n]: SipHash of each name's UTF-8, with pandas' fixed key."""
    # Device processes read an index and hash no names: pandas would take 1 s of their start.
    from pandas.util import hash_array  # noqa: PLC0415

    return hash_array(np.array(names, dtype=object), categorize=False)


@dataclass(frozen=True)
class Renames:
    """Which reads get a suffix: `positions` int64 [count], ascending, and `numbers` int32 [count].

    `examples` are the first few (old name, new name). `lone_mates` counts the names that end in `/1` without
    one in `/2` or the other way round, if there are names of both kinds.
    """

    positions: Positions
    numbers: Numbers
    examples: tuple[tuple[str, str], ...]
    lone_mates: int = 0

    @property
    def count(self) -> int:
        """How many reads get another name."""
        return len(self.positions)

    def touches(self, first: int, count: int) -> bool:
        """Whether one of `count` consecutive reads from read `first` of the drop on gets another name."""
        start, stop = np.searchsorted(self.positions, [first, first + count])
        return bool(start < stop)

    def apply(self, first: int, names: Sequence[str]) -> list[str]:
        """The final names of consecutive reads, the first of which is read `first` of the drop."""
        final = list(names)
        start, stop = np.searchsorted(self.positions, [first, first + len(final)])
        positions = (self.positions[start:stop] - first).tolist()
        for position, number in zip(positions, self.numbers[start:stop].tolist(), strict=True):
            final[position] = f"{final[position]}_{number}"
        return final


def remarks_on_names(reads: int, renamed: int, lone_mates: int, example: str = "") -> list[str]:
    """Lines about renamed reads and lone mates among `reads` reads; `example` is one that was renamed."""
    remarks = []
    if renamed:
        remarks.append(
            f"reads renamed because an earlier read has their name: {renamed:,} of {reads:,}{example}. If they are "
            "mates, say so with --paired or --interleaved"
        )
    if lone_mates:
        remarks.append(f"mates whose partner is not there: {lone_mates:,} of {counted(reads, 'read')}")
    return remarks


class ReadNames:
    """Collects the names of a drop in order, then finds the repeats.

    `folder` is an existing folder of the caller's; it takes five files, gone after `resolve`.
    `hashing` may be any function of the name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policy: DuplicatePolicy = "suffix",
        hashing: Hashing = hash_names,
    ) -> None:
        self._names = SpilledNames(folder)
        self._hashes = folder / "names.hashes"
        self._mates = (folder / "names.mates1", folder / "names.mates2")
        for path in (self._hashes, *self._mates):
            path.write_bytes(b"")
        self._policy = policy
        self._hashing = hashing
        self._count = 0
        self._files: list[tuple[int, Path | str]] = []

    def add(self, names: Sequence[str], file: Path | None = None) -> None:
        """Append the names of the next reads, which are of `file`; an error names it."""
        source = file or "the drop"
        if not self._files or self._files[-1][1] != source:
            self._files.append((self._count, source))
        self._count += len(names)
        self._names.add(names)
        append(self._hashes, self._hashing(names).tobytes())
        for suffix, path in zip(("/1", "/2"), self._mates, strict=True):
            if pairs := [name[:-2] for name in names if name.endswith(suffix)]:
                append(path, self._hashing(pairs).tobytes())

    def resolve(self) -> Renames:
        """Find the repeats and their numbers; call once, after the last `add`.

        With the policy "refuse" the first repeat is an InputError that names both files and records,
        which are counted from 1 in each file.
        """
        try:
            with self._names.reader() as reader:
                return self._renames(reader)
        finally:
            self._names.remove()
            for path in (self._hashes, *self._mates):
                path.unlink()

    def _renames(self, reader: NameReader) -> Renames:
        hashes = np.fromfile(self._hashes, np.uint64)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        names = HashedNames(hashes, order, reader, self._hashing)
        positions, numbers = names.numbered_repeats()
        if self._policy == "refuse" and len(positions):
            self._refuse(names, int(positions[0]))
        renames = Renames(positions, numbers, ())
        old = [(int(position), reader.at(int(position))) for position in positions[:_EXAMPLES]]
        examples = tuple((name, renames.apply(position, [name])[0]) for position, name in old)
        return Renames(positions, numbers, examples, self._lone_mates())

    def _lone_mates(self) -> int:
        one, two = (np.unique(np.fromfile(path, np.uint64)) for path in self._mates)
        return len(np.setxor1d(one, two, assume_unique=True)) if len(one) and len(two) else 0

    def _refuse(self, names: HashedNames, repeat: int) -> None:
        name = names.reader.at(repeat)
        first = names.first_of(name)
        assert first is not None
        (file, record), (other, before) = self._record(repeat), self._record(first)
        raise InputError(
            file,
            where=f"record {record}",
            found=f"the name {excerpt(name)!r} again, which record {before} of {other} has",
            expected="a name of its own for every read",
            advice="Rename the reads, or let repeated names get a suffix.",
        )

    def _record(self, position: int) -> tuple[Path | str, int]:
        """The file of a read of the drop, and its number in it."""
        start, file = next(known for known in reversed(self._files) if known[0] <= position)
        return file, position - start + 1
