"""How far each drop is, as lines of a table."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.jobs import EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

# A short head of a column each, so that a line fits a terminal; in the order of the work.
COLUMNS = {
    "files": "sequence_drop",
    "index": "sequence_index",
    "dnabert_s": "dnabert_s_embeddings",
    "esm2": "esm2_embeddings",
    "merged": "merged_embeddings",
    "predictions": "predictions",
    "calls": "virus_calls",
    "report": "drop_report",
}


def drop_states(instance: dg.DagsterInstance, settings: Settings) -> Iterator[str]:
    """A header, then a line a drop: its name and what of it is materialised, in columns of equal width."""
    done = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in COLUMNS.values()}
    drops = sorted({*instance.get_dynamic_partitions(DROPS), *DropStore(settings.data_root).keys()})
    rows = [["drop", *COLUMNS]]
    for drop in drops:
        rows.append([drop, *(_state(asset, drop, done[asset], settings.ranks) for asset in COLUMNS.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _state(asset: str, drop: str, done: set[str], ranks: int) -> str:
    if asset in EMBEDDINGS:
        return f"{sum(f'{drop}|{rank}' in done for rank in range(ranks))}/{ranks}"
    return "yes" if drop in done else "no"
