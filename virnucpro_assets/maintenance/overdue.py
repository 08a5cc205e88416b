"""Drops that wait for their predictions longer than `overdue_hours`.

A drop waits from the first listing of its files in its record; if they were not listed yet, from its registration or
the time at which its delivery was complete. It waits until there are predictions for its present files. Drops whose
data were cleaned up and drops for training are never overdue.
"""

from datetime import UTC, datetime
from pathlib import Path

from virnucpro_assets.intake.open_deliveries import read_open_deliveries
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import removed_of
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.tables import TABLES_MANIFEST


def overdue_drops(settings: Settings, now: datetime) -> dict[str, float]:
    """The drops that wait longer than `overdue_hours` at the time `now`, with the hours."""
    if not settings.overdue_hours:
        return {}
    drops = DropStore(settings.data_root).keys()
    waiting = {key: since for key in drops if (since := _since(key, settings))}
    for one in read_open_deliveries(settings).deliveries:
        if one.state == "ready" and one.key:
            waiting.setdefault(one.key, datetime.fromtimestamp(one.since, UTC))
    hours = {key: (now - since).total_seconds() / 3600 for key, since in waiting.items()}
    return {key: hours[key] for key in sorted(hours) if hours[key] > settings.overdue_hours}


def _since(key: str, settings: Settings) -> datetime | None:
    """The time since which a drop waits for its predictions, or None."""
    store = DropStore(settings.data_root)
    if store.is_training_drop(key):
        return None
    if not store.was_listed(key):
        return _time_of(store.source_file(key))
    drop, folder = store.current(key)
    if (folder.predictions / TABLES_MANIFEST).exists() or removed_of(folder):
        return None
    return drop.listed_at or _time_of(folder.manifest)


def _time_of(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
