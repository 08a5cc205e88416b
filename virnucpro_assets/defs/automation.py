"""Automation: each partition is asked for once, when it is missing and all that it reads is there.

The conditions are narrower than Dagster's `eager`, which asks again whenever an input was made
anew. That would run `merged_embeddings` on a new index before its embeddings are there, predict
every drop again whenever a command materialises `classifier`, and ask again for what failed. So:

- What changed is asked for by the sensor `new_drops`, all of the drop at once.
- What failed is asked for by a person, by `virnucpro retry` or by the schedule `retry_failed`.
- What a blocking check refuses is not built upon.
- What a command of the command line began, that command goes on with.

Drops that are there before the first tick of the sensor are not asked for: `virnucpro drops
--missing` lists them.
"""

from typing import Any

import dagster as dg

from virnucpro_assets.defs.jobs import EMBEDDINGS
from virnucpro_assets.defs.process_runs import COMMAND
from virnucpro_assets.settings import Settings

When = dg.AutomationCondition
Condition = dg.AutomationCondition[Any]


def once() -> Condition:
    """Ask for a partition that appeared, as soon as its inputs are there and right, once."""
    return (
        _by_key(When.newly_missing().since_last_handled())
        & ~When.any_deps_missing()
        & ~When.any_deps_in_progress()
        & ~_any_deps_refused()
        & ~_any_deps_of_a_command()
        & ~When.in_progress()
        & ~When.execution_failed()
    ).with_label("once")


def never_made() -> Condition:
    """Ask for an asset without partitions until it is there or has failed.

    After a failure the sensor `new_drops` puts it on record as soon as it can be used.
    """
    return (When.missing() & ~When.in_progress() & ~When.execution_failed()).with_label("never_made")


def automation_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions of all assets, and asks for what they say by backfills."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        emit_backfills=True,
        minimum_interval_seconds=settings.scan_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if settings.automation
        else dg.DefaultSensorStatus.STOPPED,
        description="Asks for every asset of a drop that arrived, each once.",
    )


def _by_key(condition: Condition) -> Condition:
    # Dagster keeps partitions of drops between two ticks as ranges. What it then asks for as ranges, because
    # no other condition took anything away, its backfill refuses as a system error. An `or` lists keys.
    return condition | condition


def _any_deps_refused() -> Condition:
    # The embeddings' own check is in their step: what does not pass is not there, or is there on purpose.
    judged = dg.AssetSelection.all() - dg.AssetSelection.assets(*EMBEDDINGS)
    failed = When.any_checks_match(When.check_failed(), blocking_only=True)
    return When.any_deps_match(failed).allow(judged).with_label("any_deps_refused")


def _any_deps_of_a_command() -> Condition:
    drops = dg.AssetSelection.all() - dg.AssetSelection.assets("classifier")
    by_command = When.all_new_updates_have_run_tags(tag_values={COMMAND: "yes"})
    return (
        When.any_deps_match(When.newly_updated() & by_command)
        .allow(drops)
        .since(When.any_deps_match(When.newly_updated() & ~by_command).allow(drops))
        .with_label("any_deps_of_a_command")
    )
