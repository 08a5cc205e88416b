"""A part whose device process died: try again, look for the sequence that ends it, go on without that one.

The first time the part is simply done again, with each pack announced. If its process dies
again, in a pack, the rows of the pack are probed in halves, each in a process that may die,
down to single rows. A row that ends its process twice, alone, is quarantined. If every row of a
pack does, it is the device rather than the rows, and the part is given up. If no row does, the
part is done once more, for processes also die of other things, and from then on in packs
of half the size, for the pack as a whole may be too much.
"""

from collections import deque
from dataclasses import dataclass, field

from virnucpro_assets.errors import counted
from virnucpro_assets.inference.messages import PartKey, PartTask, ProbeTask
from virnucpro_assets.inference.rounds import Died, Work
from virnucpro_assets.storage.provenance import QuarantinedRow

DEATHS_OF_A_PART = 40
"""Enough to find three culprits among a thousand rows; more deaths have another cause than single rows."""

DEATHS_WITHOUT_A_PACK = 3


@dataclass
class _Search:
    part: PartTask
    rows: list[int]
    probes: int = 0
    suspects: list[int] = field(default_factory=list)
    culprits: list[int] = field(default_factory=list)


@dataclass
class Retries:
    """Decides what is tried again, and puts it at the front of `queue`."""

    queue: deque[Work]
    _deaths: dict[PartKey, int] = field(default_factory=dict)
    _failed_bisections: dict[PartKey, int] = field(default_factory=dict)
    _searches: dict[PartKey, _Search] = field(default_factory=dict)

    def part_died(self, task: PartTask, death: Died) -> str | None:
        """Decide on a part whose process died; returns the reason if the part is given up."""
        key = task.key
        deaths = self._count(key)
        if deaths >= DEATHS_OF_A_PART or (deaths >= DEATHS_WITHOUT_A_PACK and not death.rows):
            return _died_too_often(death, deaths)
        if task.announced and death.rows:
            self._searches[key] = _Search(task, death.rows)
            self._probe(key, death.rows)
        else:
            self.queue.appendleft(task.model_copy(update={"announced": True}))
        return None

    def probe_ended(self, probe: ProbeTask, death: Died | None) -> str | None:
        """Go on with a search after a probe, which its process survived if `death` is None.

        Returns the reason if the part is given up.
        """
        search = self._searches.get(probe.part)
        if search is None:
            return None
        search.probes -= 1
        if death is not None:
            deaths = self._count(probe.part)
            if deaths >= DEATHS_OF_A_PART:
                self.give_up(probe.part)
                return _died_too_often(death, deaths)
            self._suspect(search, probe)
        if not search.probes:
            del self._searches[probe.part]
            if len(search.culprits) == len(search.rows) > 1:
                return (
                    f"each of the {counted(len(search.rows), 'sequence')} of a pack ended its process also alone, "
                    "which is rather a matter of the device than of them"
                )
            self.queue.appendleft(self._next_attempt(probe.part, search))
        return None

    def give_up(self, key: PartKey) -> None:
        """End the search for the culprits of a part, if there is one."""
        self._searches.pop(key, None)
        others = [task for task in self.queue if not (isinstance(task, ProbeTask) and task.part == key)]
        self.queue.clear()
        self.queue.extend(others)

    def _suspect(self, search: _Search, probe: ProbeTask) -> None:
        if len(probe.rows) > 1 or probe.rows[0] not in search.suspects:
            search.suspects += probe.rows if len(probe.rows) == 1 else []
            self._probe(probe.part, probe.rows)
        else:
            search.culprits += probe.rows

    def _probe(self, key: PartKey, rows: list[int]) -> None:
        search, half = self._searches[key], -(-len(rows) // 2)
        for piece in filter(None, (rows[half:], rows[:half])):
            search.probes += 1
            self.queue.appendleft(
                ProbeTask(
                    encoder=search.part.encoder,
                    index=search.part.index,
                    index_digest=search.part.recipe.index_digest,
                    part=key,
                    rows=piece,
                )
            )

    def _next_attempt(self, key: PartKey, search: _Search) -> PartTask:
        part = search.part
        if search.culprits:
            found = [QuarantinedRow(row=row, reason="kills_process") for row in search.culprits]
            return part.model_copy(update={"quarantined": [*part.quarantined, *found]})
        self._failed_bisections[key] = self._failed_bisections.get(key, 0) + 1
        if self._failed_bisections[key] == 1:
            return part
        limit = part.token_limit or part.recipe.token_budget
        return part.model_copy(update={"token_limit": -(-limit // 2)})

    def _count(self, key: PartKey) -> int:
        self._deaths[key] = self._deaths.get(key, 0) + 1
        return self._deaths[key]


def _died_too_often(death: Died, deaths: int) -> str:
    return f"{death.reason}; the part has ended its process {counted(deaths, 'time')}"
