"""Dagster's table of which partitions are made, checked against the events that it sums up.

The table is brought up to date by several processes without a lock. If a materialisation is
recorded just while another run of the same asset is planned, the table can pass it over for good:
what depends on that partition is then never asked for. A table that lacks what is recorded is
thrown away, and Dagster makes it anew from the events when it next looks.
"""

import dagster as dg

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.defs.standing import BEFORE


def mend_status_caches(instance: dg.DagsterInstance, partitions: Partitions) -> dict[str, set[str]]:
    """Throw away the tables that lack a partition which is recorded as made; those partitions, by asset."""
    mended = {}
    for asset in (*BEFORE, *EMBEDDINGS, *AFTER_EMBEDDINGS):
        key = dg.AssetKey(asset)
        made = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
        (record,) = instance.get_asset_records([key]) or (None,)
        if record is None or (table := record.asset_entry.cached_status) is None:
            continue
        definition = partitions.drop_ranks if asset in EMBEDDINGS else partitions.drops
        listed = table.deserialize_materialized_partition_subsets(definition).get_partition_keys()
        passed_over = {name for name, event in made.items() if event <= table.latest_storage_id} - {*listed}
        if lost := passed_over & _known(instance, asset, partitions):
            instance.wipe_asset_cached_status([key])
            mended[asset] = lost
    return mended


def _known(instance: dg.DagsterInstance, asset: str, partitions: Partitions) -> set[str]:
    drops = instance.get_dynamic_partitions(DROPS)
    return {name for drop in drops for name in partitions.of_asset(asset, drop) or ()}
