"""How far each drop is, as lines of a table."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.jobs import EMBEDDINGS
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.removed import removed_of

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
REMOVED = {"embeddings": (*EMBEDDINGS, "merged_embeddings"), "data": tuple(COLUMNS.values())[1:]}
"""What a clean-up takes of a drop; the files of the delivery are not its own."""


def drop_states(instance: dg.DagsterInstance, settings: Settings) -> Iterator[str]:
    """A header, then a line a drop: its name and what of it is materialised, in columns of equal width.

    What was made and is cleaned up after its time is `removed`: Dagster keeps on record that it was made.
    """
    done = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in COLUMNS.values()}
    drops = sorted({*instance.get_dynamic_partitions(DROPS), *DropStore(settings.data_root).keys()})
    rows = [["drop", *COLUMNS]]
    for drop in drops:
        removed = _removed(drop, settings)
        states = (
            "removed" if asset in removed else _state(asset, drop, done[asset], settings.ranks)
            for asset in COLUMNS.values()
        )
        rows.append([drop, *states])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _removed(drop: str, settings: Settings) -> tuple[str, ...]:
    """The assets of a drop whose data a clean-up removed."""
    store = DropStore(settings.data_root)
    try:
        record = removed_of(store.current(drop)[1]) if store.was_listed(drop) else None
    except IntegrityError:
        # A damaged record is told by whoever works on the drop; the table shows what Dagster knows.
        record = None
    return REMOVED[record.what] if record else ()


def _state(asset: str, drop: str, done: set[str], ranks: int) -> str:
    if asset in EMBEDDINGS:
        return f"{sum(f'{drop}|{rank}' in done for rank in range(ranks))}/{ranks}"
    return "yes" if drop in done else "no"
