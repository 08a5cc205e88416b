"""How far each drop is, as lines of a table."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

BY_DROP = ("sequence_drop", "sequence_index", *AFTER_EMBEDDINGS)


def drop_states(instance: dg.DagsterInstance, settings: Settings) -> Iterator[str]:
    """A header, then a line a drop: its name and what of it is materialised."""
    done = {
        asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in (*BY_DROP, *EMBEDDINGS)
    }
    drops = sorted({*instance.get_dynamic_partitions(DROPS), *DropStore(settings.data_root).keys()})
    yield "\t".join(["drop", *EMBEDDINGS, *BY_DROP])
    for drop in drops:
        ranks = [
            f"{sum(f'{drop}|{rank}' in done[asset] for rank in range(settings.ranks))}/{settings.ranks}"
            for asset in EMBEDDINGS
        ]
        yield "\t".join([drop, *ranks, *("yes" if drop in done[asset] else "no" for asset in BY_DROP)])
