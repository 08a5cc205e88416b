"""What a look at the drops folder changes: drops are registered, and their partitions added."""

from contextlib import suppress

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import BusyError
from virnucpro_assets.intake.open_deliveries import record_scan
from virnucpro_assets.intake.registration import register_delivery
from virnucpro_assets.intake.scan import Delivery, Observations, Scan, scan
from virnucpro_assets.settings import Settings


def look_for_drops(settings: Settings, former: str | None, now: float) -> Scan:
    """Scan the drops folder and register what is complete; `former` is the cursor of the last look.

    A drop that a command works on is registered at a later look. Writes the record of deliveries that are no
    drops. Adds no partition.
    """
    refusing = settings.model_copy(update={"when_busy": "refuse"})
    found = scan(settings, Observations.from_cursor(former), now)
    for delivery in found.of("ready", "changed"):
        with suppress(BusyError), registration_lock(delivery.key, refusing, lambda _: None):
            register_delivery(delivery, settings)
    record_scan(found, settings, now)
    return found


def without_partition(instance: dg.DagsterInstance, found: Scan) -> list[Delivery]:
    """The complete deliveries that are no partition yet, in the order of their names."""
    there = set(instance.get_dynamic_partitions(DROPS))
    return [delivery for delivery in found.of("ready", "changed") if delivery.key not in there]


def summary(found: Scan) -> str:
    """One line on what is no drop: who settles, and who is refused for which reason."""
    refused = [f"refused {one.name}: found {one.reason}" for one in found.of("refused")]
    settling = found.of("settling")
    waiting = (
        [f"{len(settling)} settling ({', '.join(one.name for one in settling[:5])})"] if settling else []
    )
    return "; ".join([*refused[:20], *waiting]) or "nothing new"
