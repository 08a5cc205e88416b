"""The deliveries that are no drops, as the last scan found them: `deliveries.toml` in the data root.

`virnucpro drops` prints it after the table of drops. It is written only if it changes.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.intake.drops_folder import find_deliveries
from virnucpro_assets.intake.scan import Scan, without_rivals
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

FILE = "deliveries.toml"
# More names than a person reads: a drops folder full of refused files must not fill the data root.
LISTED = 500


class OpenDelivery(BaseModel):
    """A delivery that is no drop, the reason, and the time (seconds) of the scan that first found it so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str = ""
    state: Literal["settling", "ready", "changed", "refused", "aside"]
    reason: str = ""
    since: float


class OpenDeliveries(BaseModel):
    """The first LISTED of them, refused ones first and files left aside last, and the number of the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deliveries: list[OpenDelivery] = []
    more: int = 0


def record_scan(scan: Scan, settings: Settings, now: float) -> OpenDeliveries:
    """Record the deliveries of a scan at the time `now` that are not known; returns the record."""
    path = settings.data_root / FILE
    before = read_open_deliveries(settings)
    since: dict[tuple[str, str], float] = {(one.name, one.state): one.since for one in before.deliveries}
    found = [
        OpenDelivery(
            name=one.name,
            key=one.key,
            state=one.state,
            reason=one.reason,
            since=since.get((one.name, one.state), now),
        )
        for one in sorted(scan.deliveries, key=lambda one: (one.state != "refused", one.state == "aside"))
        if one.state not in {"known", "complete"}
    ]
    after = OpenDeliveries(deliveries=found[:LISTED], more=max(0, len(found) - LISTED))
    if after != before:
        write_manifest(path, after)
    return after


def read_open_deliveries(settings: Settings) -> OpenDeliveries:
    """The record of the last scan; empty if there is none or it is damaged, for the next scan writes it again."""
    path: Path = settings.data_root / FILE
    if not path.exists():
        return OpenDeliveries()
    try:
        return read_manifest(path, OpenDeliveries)
    except IntegrityError:
        return OpenDeliveries()


def open_delivery_lines(settings: Settings) -> Iterator[str]:
    """A line for each delivery that is no drop: its name, its state, since when, and why."""
    found = read_open_deliveries(settings)
    for one in found.deliveries:
        since = datetime.fromtimestamp(one.since).astimezone().isoformat(" ", "minutes")
        why = f": {one.reason}" if one.reason else ""
        yield f"{one.state} since {since}  {one.name}{why}"
    if found.more:
        yield f"and {found.more} more"


def refused_lines(settings: Settings) -> Iterator[str]:
    """A line for each delivery, sample or sheet in the drops folder that is refused now, and why."""
    for found in without_rivals(find_deliveries(settings), DropStore(settings.data_root)):
        if found.state == "refused":
            yield f"refused  {found.name}: {found.reason}"


def whole_deliveries(settings: Settings) -> list[str]:
    """The keys of deliveries in the drops folder that `virnucpro materialize` would take up."""
    settling = {one.key for one in read_open_deliveries(settings).deliveries if one.state == "settling"}
    return [
        found.key
        for found in find_deliveries(settings)
        if found.key and found.state == "complete" and found.key not in settling
    ]
