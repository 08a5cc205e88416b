"""Which partitions of the drops are made, failed or at work, and from that what is to be made of a drop.

Dagster's statuses are what the UI shows. They come from a table that several processes update without a lock. If a
materialisation is recorded while another run of the same asset is planned, the table can miss it for good.
`repair_status_tables` removes such a table, and Dagster builds it again from the events.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from virnucpro_assets.defs.partitions import (
    ASSETS,
    DROPS,
    EMBEDDINGS,
    OF_CALL,
    OF_INDEX,
    Partitions,
    drop_and_rank,
    partition_key,
    stretches,
)
from virnucpro_assets.defs.records import latest_record, planned
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.reports.check_pages import gather_checks
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

KeysByAsset = dict[str, set[str]]
"""The keys of partitions, by asset."""

MADE, FAILED, AT_WORK = "MATERIALIZED", "FAILED", "IN_PROGRESS"


@dataclass(frozen=True)
class Todo:
    """What is to be made of a drop: whether the index, which ranks of each encoder, which assets of the last run.

    What depends on an asset is made again with it: with the index all ranks, and with any rank the whole last run.
    """

    index: bool
    ranks: Mapping[str, Sequence[int]]
    call: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.index or self.ranks or self.call)

    def embed_runs(self, *, one_by_one: bool = False) -> Iterator[tuple[list[str], int, int]]:
        """The runs that make the ranks: the assets of each, its first and its last rank.

        Ranks without a gap share a run, unless `one_by_one` is set.
        """
        by_ranks: dict[tuple[int, ...], list[str]] = {}
        for asset, ranks in self.ranks.items():
            by_ranks.setdefault(tuple(ranks), []).append(asset)
        for ranks, assets in by_ranks.items():
            for first, last in ((rank, rank) for rank in ranks) if one_by_one else stretches(ranks):
                yield assets, first, last


NOTHING = Todo(index=False, ranks={}, call=())


def whole(ranks: int, *, index: bool = True) -> Todo:
    """All of a drop of so many ranks, with its index or without."""
    return Todo(index=index, ranks={asset: [*range(ranks)] for asset in EMBEDDINGS}, call=OF_CALL)


@dataclass(frozen=True)
class Statuses:
    """The status of every partition of the drops, by asset; None where it was never tried."""

    partitions: Partitions
    drops: list[str]
    by_asset: dict[str, dict[str, str | None]]

    @classmethod
    def of(
        cls, instance: dg.DagsterInstance, partitions: Partitions, drops: Sequence[str] | None = None
    ) -> "Statuses":
        """The present statuses, by default of all drops in the order in which they were added."""
        drops = list(instance.get_dynamic_partitions(DROPS) if drops is None else drops)
        by_asset = {}
        for asset in ASSETS:
            keys = [key for drop in drops for key in partitions.of_asset(asset, drop)]
            definition = partitions.definition(asset)
            found = instance.get_status_by_partition(dg.AssetKey(asset), keys, definition) or {}
            by_asset[asset] = {key: status.value if (status := found.get(key)) else None for key in keys}
        return cls(partitions, drops, by_asset)

    def having(self, drop: str, *statuses: str | None) -> KeysByAsset:
        """The partitions of a drop with one of these statuses."""
        found = {
            asset: {key for key in self.partitions.of_asset(asset, drop) if statuses_of[key] in statuses}
            for asset, statuses_of in self.by_asset.items()
        }
        return {asset: keys for asset, keys in found.items() if keys}

    def never_started(self, drop: str) -> Todo:
        """What is missing of a drop of which nothing failed and nothing is at work; else nothing."""
        return NOTHING if self.having(drop, FAILED, AT_WORK) else self._todo(drop, self.having(drop, None))

    def failed(self, drop: str, settings: Settings) -> Todo:
        """What failed of a drop and what is made from it; nothing of a drop of which something is at work."""
        failed = self.having(drop, FAILED)
        if not failed or self.having(drop, AT_WORK):
            return NOTHING
        return self._todo(drop, failed, self._made_but_held_back(drop, settings))

    def unmaterialized(self, drop: str, settings: Settings) -> Todo:
        """What is missing of a drop, for whatever reason, or is held back, and what is made from it."""
        return self._todo(drop, self.having(drop, FAILED, None), self._made_but_held_back(drop, settings))

    def _made_but_held_back(self, drop: str, settings: Settings) -> KeysByAsset:
        """What is made without a pass of each of its blocking checks, which must run again."""
        made = self.having(drop, MADE)
        held = partitions_held_back(drop, settings)
        return {asset: keys & made.get(asset, set()) for asset, keys in held.items()}

    def _todo(self, drop: str, *parts: KeysByAsset) -> Todo:
        keys = {asset: set().union(*(part.get(asset, set()) for part in parts)) for asset in ASSETS}
        if any(keys[asset] for asset in OF_INDEX):
            return whole(self.partitions.ranks)
        ranks = {
            asset: found
            for asset in EMBEDDINGS
            if (found := sorted(rank for key in keys[asset] if (rank := drop_and_rank(key)[1]) is not None))
        }
        first = 0 if ranks else next((n for n, asset in enumerate(OF_CALL) if keys[asset]), len(OF_CALL))
        return Todo(index=False, ranks=ranks, call=OF_CALL[first:])


def partitions_held_back(drop: str, settings: Settings) -> KeysByAsset:
    """The partitions of a drop without a pass of each of their blocking checks, whether they are made or not."""
    if not DropStore(settings.data_root).was_listed(drop):
        return {}
    try:
        report = gather_checks(DropWork.on(drop, settings))
    except IntegrityError:
        # The next stage of the drop reports the damaged record; other drops must not wait for that.
        return {}
    found: KeysByAsset = {}
    for check in report.checks:
        if check.blocking and check.state != "passed":
            found.setdefault(check.asset, set()).add(partition_key(drop, check.rank))
    return found


@dataclass(frozen=True)
class Attempts:
    """How often the most tried partition of a drop failed, and when (seconds) the drop first did."""

    drop: str
    most: int
    since: float


def failed_drops(instance: dg.DagsterInstance, statuses: Statuses) -> list[Attempts]:
    """The drops of which something failed, the oldest failure first."""
    found = []
    for drop in statuses.drops:
        if failed := statuses.having(drop, FAILED):
            times = [_attempts(instance, asset, key) for asset, keys in failed.items() for key in keys]
            found.append(Attempts(drop, max(map(len, times)), min(map(min, times))))
    return sorted(found, key=lambda attempts: (attempts.since, attempts.drop))


def _attempts(instance: dg.DagsterInstance, asset: str, partition: str) -> list[float]:
    """When each run was launched that was to make a partition, after it was last made."""
    made = latest_record(instance, asset, [partition])
    tries = planned(instance, asset, [partition], after=made.storage_id if made else None)
    return [record.timestamp for record in tries]


def repair_status_tables(instance: dg.DagsterInstance, partitions: Partitions) -> dict[str, set[str]]:
    """Remove the tables that lack a partition which is recorded as made; returns those partitions, by asset."""
    repaired = {}
    drops = instance.get_dynamic_partitions(DROPS)
    for asset in ASSETS:
        key = dg.AssetKey(asset)
        made = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
        (record,) = instance.get_asset_records([key]) or (None,)
        if record is None or (table := record.asset_entry.cached_status) is None:
            continue
        listed = table.deserialize_materialized_partition_subsets(partitions.definition(asset))
        known = {name for drop in drops for name in partitions.of_asset(asset, drop)}
        passed_over = {name for name, event in made.items() if event <= table.latest_storage_id}
        if lost := (passed_over & known) - {*listed.get_partition_keys()}:
            instance.wipe_asset_cached_status([key])
            repaired[asset] = lost
    return repaired
