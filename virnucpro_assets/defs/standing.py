"""Where the partitions of the drops stand: made, failed, going on, or never tried.

And from that, what is to be done: what never began, and what failed with all that depends on it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, BEFORE_EMBEDDINGS, EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS, WITHOUT_PARTITIONS, Partitions

Work = dict[str, set[str]]
"""Partitions to be made, by asset."""

MADE, FAILED, GOING_ON = (
    AssetPartitionStatus.MATERIALIZED,
    AssetPartitionStatus.FAILED,
    AssetPartitionStatus.IN_PROGRESS,
)
BEFORE = tuple(asset for asset in BEFORE_EMBEDDINGS if asset not in WITHOUT_PARTITIONS)
ASSETS = (*BEFORE, *EMBEDDINGS, *AFTER_EMBEDDINGS)


@dataclass(frozen=True)
class Standing:
    """The status of every partition of every drop, by asset; None where it was never tried."""

    partitions: Partitions
    drops: list[str]
    statuses: dict[str, dict[str, AssetPartitionStatus | None]]

    @classmethod
    def of(cls, instance: dg.DagsterInstance, partitions: Partitions) -> "Standing":
        """How it is now. Drops are in the order in which they were added."""
        drops = list(instance.get_dynamic_partitions(DROPS))
        statuses = {}
        for asset in ASSETS:
            keys = [key for drop in drops for key in partitions.of_asset(asset, drop) or ()]
            definition = partitions.drop_ranks if asset in EMBEDDINGS else partitions.drops
            found = instance.get_status_by_partition(dg.AssetKey(asset), keys, definition)
            statuses[asset] = {key: (found or {}).get(key) for key in keys}
        return cls(partitions, drops, statuses)

    def having(self, drop: str, *statuses: AssetPartitionStatus | None) -> Work:
        """The partitions of a drop with one of these statuses."""
        return _without_empty(
            {
                asset: {key for key in self.partitions.of_asset(asset, drop) or () if found[key] in statuses}
                for asset, found in self.statuses.items()
            }
        )

    def never_begun(self, drop: str) -> Work:
        """What was never made of a drop of which nothing failed and nothing goes on; else nothing."""
        return {} if self.having(drop, FAILED, GOING_ON) else self.having(drop, None)

    def anew(self, drop: str) -> Work:
        """All of a drop, whether it is made or not; nothing of a drop of which something goes on."""
        return {} if self.having(drop, GOING_ON) else self.having(drop, MADE, FAILED, None)

    def to_repair(self, drop: str, held_back: Work) -> Work:
        """What failed or is held back of a drop, and all that depends on it.

        Nothing of a drop of which nothing failed, or of which something goes on.
        """
        failed = self.having(drop, FAILED)
        if not failed or self.having(drop, GOING_ON):
            return {}
        return with_dependents(joined([failed, self._made(drop, held_back)]), self.partitions, drop)

    def left_over(self, drop: str, held_back: Work) -> Work:
        """What is not made of a drop, for whatever reason, or is held back, and all that depends on it."""
        missing = self.having(drop, FAILED, None)
        return with_dependents(joined([missing, self._made(drop, held_back)]), self.partitions, drop)

    def _made(self, drop: str, work: Work) -> Work:
        made = self.having(drop, MADE)
        return _without_empty({asset: keys & made.get(asset, set()) for asset, keys in work.items()})


def with_dependents(work: Work, partitions: Partitions, drop: str) -> Work:
    """The same work on a drop, and all that is made from it."""
    stages: list[Collection[str]] = [*((asset,) for asset in BEFORE), EMBEDDINGS]
    stages += [(asset,) for asset in AFTER_EMBEDDINGS]
    whole: Work = {}
    follows = False
    for assets in stages:
        for asset in assets:
            keys = set(partitions.of_asset(asset, drop) or ()) if follows else work.get(asset, set())
            whole[asset] = keys
        follows = follows or any(whole[asset] for asset in assets)
    return _without_empty(whole)


def joined(works: Iterable[Work]) -> Work:
    """All of the work together."""
    whole: Work = {}
    for work in works:
        for asset, keys in work.items():
            whole.setdefault(asset, set()).update(keys)
    return whole


def stretches(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each stretch of numbers without a gap, ascending."""
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in ordered]
    ends = [n for n in ordered if n + 1 not in ordered]
    return zip(starts, ends, strict=True)


def _without_empty(work: Work) -> Work:
    return {asset: keys for asset, keys in work.items() if keys}
