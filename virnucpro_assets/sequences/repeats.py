"""Finding repeated names among sorted hashes, and the free numbers that tell them apart.

Works through the sorted hashes a window at a time. A window never parts equal hashes, so all
reads of one name are in one window. Hashes only say where to look: names are compared by their
letters, and a collision of hashes costs time but never changes a result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.spilled_names import NameReader

Positions = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Hashing = Callable[[Sequence[str]], npt.NDArray[np.uint64]]

_WINDOW = 131_072
# New names looked up at a time.
_CANDIDATES = 65_536


@dataclass(frozen=True)
class HashedNames:
    """The names of a drop: `hashes` uint64 [n] ascending, `order` int64 [n] the read of each.

    Among equal hashes `order` ascends. `reader` gives the names, `hashing` makes hashes as
    those in `hashes`.
    """

    hashes: npt.NDArray[np.uint64]
    order: Positions
    reader: NameReader
    hashing: Hashing

    def first_of(self, name: str) -> int | None:
        """The position of the first read with this name; None without one."""
        wanted = self.hashing([name])
        start, stop = (int(np.searchsorted(self.hashes, wanted, side)[0]) for side in ("left", "right"))
        return self._first_from(name, start, stop)

    def numbered_repeats(self) -> tuple[Positions, Numbers]:
        """The reads whose name came before, ascending, and the number that each gets."""
        found = []
        start = 0
        while start < len(self.hashes):
            last = self.hashes[min(start + _WINDOW, len(self.hashes)) - 1]
            stop = int(np.searchsorted(self.hashes, last, "right"))
            found.append(self._repeats_within(start, stop))
            start = stop
        positions = np.concatenate([np.empty(0, np.int64), *(positions for positions, _ in found)])
        numbers = np.concatenate([np.empty(0, np.int32), *(numbers for _, numbers in found)])
        ascending = np.argsort(positions)
        return positions[ascending], numbers[ascending]

    def _repeats_within(self, start: int, stop: int) -> tuple[Positions, Numbers]:
        hashes = self.hashes[start:stop]
        same_as_next = hashes[1:] == hashes[:-1]
        shared = np.append(same_as_next, False) | np.insert(same_as_next, 0, False)
        members = self.order[start:stop][shared]

        ids: dict[str, int] = {}
        name_of = np.fromiter(
            (ids.setdefault(name, len(ids)) for name in self.reader.each(members)), np.int64, len(members)
        )
        repeats = np.bincount(name_of) - 1
        by_name = np.argsort(name_of, kind="stable")
        is_repeat = np.diff(name_of[by_name], prepend=-1) == 0
        return members[by_name][is_repeat], self._free_numbers(list(ids), repeats)

    def _free_numbers(self, names: list[str], wanted: npt.NDArray[np.int64]) -> Numbers:
        """The `wanted[i]` smallest numbers k, from 1, for which no read is called `names[i]_k`; name after name."""
        numbers = np.zeros(int(wanted.sum()), np.int32)
        place = np.cumsum(wanted) - wanted
        missing = wanted.copy()
        following = np.ones(len(names), np.int64)
        reach = 1
        while len(unsettled := np.flatnonzero(missing)):
            # Reaching further each time keeps a long run of taken numbers from costing a round each.
            most = max(1, _CANDIDATES // len(unsettled))
            tried = np.minimum(missing[unsettled] * reach, most)
            owner = np.repeat(unsettled, tried)
            number = following[owner] + _count_up(tried)
            free = self._free(names, owner, number)
            owner, number = owner[free], number[free]
            rank = _count_up(np.bincount(owner, minlength=len(names)))
            needed = rank < missing[owner]
            owner, number, rank = owner[needed], number[needed], rank[needed]
            numbers[place[owner] + rank] = number
            settled = np.bincount(owner, minlength=len(names))
            place += settled
            missing -= settled
            following[unsettled] += tried
            reach = min(2 * reach, _CANDIDATES)
        return numbers

    def _free(self, names: list[str], owner: Positions, number: Positions) -> npt.NDArray[np.bool_]:
        """Whether no read is called `names[owner]_number`, for each pair."""
        candidates = [
            f"{names[one]}_{suffix}" for one, suffix in zip(owner.tolist(), number.tolist(), strict=True)
        ]
        wanted = self.hashing(candidates)
        starts = np.searchsorted(self.hashes, wanted, "left")
        known = np.equal(self.hashes[np.minimum(starts, len(self.hashes) - 1)], wanted)
        free = np.logical_not(known)
        stops = np.searchsorted(self.hashes, wanted[known], "right")
        for place, start, stop in zip(
            np.flatnonzero(known).tolist(), starts[known].tolist(), stops.tolist(), strict=True
        ):
            free[place] = self._first_from(candidates[place], start, stop) is None
        return free

    def _first_from(self, name: str, start: int, stop: int) -> int | None:
        for entry in range(start, stop):
            position = int(self.order[entry])
            if self.reader.at(position) == name:
                return position
        return None


def _count_up(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 … counts[0] - 1, 0 … counts[1] - 1, and so on."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
