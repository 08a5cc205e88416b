"""The sensor that finds new and changed drops.

A new drop becomes a partition, and the conditions of the assets ask for the work; were it asked
for here too, it would be done twice. A changed drop has all its partitions, so that nothing of it
is missing: it is asked for here, all of it and once for each state of its files, by a backfill
that makes one thing after the other.
"""

import time

import dagster as dg

from virnucpro_assets.defs.arrivals import look_for_drops, summary, without_partition
from virnucpro_assets.defs.backfills import ask_for, drops_in_backfills
from virnucpro_assets.defs.classifier import ASSET as CLASSIFIER
from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.process_runs import fail_dead_runs
from virnucpro_assets.defs.records import latest_record
from virnucpro_assets.defs.standing import FAILED, MADE, Standing
from virnucpro_assets.defs.status_caches import mend_status_caches
from virnucpro_assets.intake.scan import Scan
from virnucpro_assets.settings import Settings


def new_drops(settings: Settings, partitions: Partitions) -> dg.SensorDefinition:
    """The sensor `new_drops`."""

    @dg.sensor(
        name="new_drops",
        target=dg.AssetSelection.assets("sequence_drop"),
        minimum_interval_seconds=settings.scan_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Finds complete deliveries in the drops folder, and says which ones are refused.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if latest_record(context.instance, CLASSIFIER, None) is None:
            # Automation does not ask again for what failed, and every drop waits for this: one that was
            # imported, or came into use, since then is put on record.
            record_in_use(context.instance, settings)
        for run in fail_dead_runs(context.instance):
            context.log.warning(f"run {run}: its process ended without a word; marked as failed")
        for asset, lost in mend_status_caches(context.instance, partitions).items():
            context.log.warning(
                f"{asset}: Dagster's table of partitions passed over {', '.join(sorted(lost))}; made anew"
            )
        found = look_for_drops(settings, context.cursor, time.time())
        for delivery in found.of("refused"):
            context.log.warning(f"{delivery.name}: refused, found {delivery.reason}")
        new = [delivery.key for delivery in without_partition(context.instance, found)]
        asked = _ask_for_changed(context, partitions, found) if settings.automation else []
        return dg.SensorResult(
            skip_reason="; ".join([f"{len(new)} new", f"{len(asked)} changed", *asked, summary(found)]),
            dynamic_partitions_requests=[partitions.drops.build_add_request(new)] if new else [],
            cursor=found.observations.to_cursor(),
        )

    return look


def _ask_for_changed(context: dg.SensorEvaluationContext, partitions: Partitions, found: Scan) -> list[str]:
    """Ask for all of each changed drop of which nothing goes on; a drop stays changed until it is listed.

    And of each new one whose name a forgotten drop had: that it was made stays on record, so automation misses nothing.
    """
    changed, repository = found.of("changed", "ready"), context.repository_def
    if not changed or repository is None:
        return []
    standing = Standing.of(context.instance, partitions)
    busy = drops_in_backfills(context.instance)
    asked = []
    for one in changed:
        if one.key not in standing.drops or one.key in busy:
            continue
        if one.state == "ready" and not standing.having(one.key, MADE, FAILED):
            continue
        if work := standing.anew(one.key):
            name = f"new_drops {one.key} {one.seen}"
            backfill = ask_for(context.instance, repository.asset_graph, work, "new_drops", name)
            asked.append(f"{one.key}: backfill {backfill}")
    return asked
