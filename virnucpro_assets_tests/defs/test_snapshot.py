"""The definitions as one text, so that a change of the graph shows in a diff.

`python -m virnucpro_assets_tests.defs.test_snapshot` writes the text again after a change that is meant.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings

FILE = Path(__file__).with_name("definitions.txt")


def test_the_definitions_are_those_that_were_reviewed() -> None:
    advice = "python -m virnucpro_assets_tests.defs.test_snapshot writes it again"
    assert described(build_definitions(Settings())) == FILE.read_text(), advice


def described(definitions: dg.Definitions) -> str:
    """All assets, checks, jobs, sensors and schedules with what decides when they run, a line for each fact."""
    repository = definitions.get_repository_def()
    sections = [
        *_assets(definitions.resolve_asset_graph()),
        *(f"job {job.name}: {', '.join(sorted(n.name for n in job.nodes))}" for job in _jobs(repository)),
        *(_sensor(sensor) for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)),
        *(_schedule(one) for one in sorted(repository.schedule_defs, key=lambda schedule: schedule.name)),
    ]
    return "\n".join(sections) + "\n"


def _assets(graph: Any) -> Iterator[str]:
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        made = f"made by the step {node.assets_def.node_def.name}" if node.is_materializable else "external"
        yield f"asset {key.to_user_string()}: {made}, group {node.group_name}, kinds {_listed(node.kinds)}"
        for parent in sorted(node.parent_keys):
            mapping = node.partition_mappings.get(parent)
            yield f"  reads {parent.to_user_string()}{f' by {type(mapping).__name__}' if mapping else ''}"
        yield f"  partitions: {_partitions(node.partitions_def)}; backfills: {_policy(node.backfill_policy)}"
        if node.automation_condition:
            yield f"  asked for: {node.automation_condition.get_label()}"
        for check in sorted(node.check_keys):
            spec = graph.get(check)
            blocks = "blocks" if spec.blocking else "only tells"
            yield f"  check {check.name}: {blocks}, partitions: {_partitions(spec.partitions_def)}"


def _partitions(definition: dg.PartitionsDefinition | None) -> str:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return " x ".join(
            f"{one.name} ({_partitions(one.partitions_def)})" for one in definition.partitions_defs
        )
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return f"dynamic {definition.name}"
    return "none" if definition is None else ", ".join(definition.get_partition_keys())


def _policy(policy: dg.BackfillPolicy | None) -> str:
    return (
        "default" if policy is None else f"{policy.policy_type.value}, {policy.max_partitions_per_run} a run"
    )


def _jobs(repository: dg.RepositoryDefinition) -> list[dg.JobDefinition]:
    return sorted(
        (job for job in repository.get_all_jobs() if not job.name.startswith("__")), key=lambda job: job.name
    )


def _sensor(sensor: dg.SensorDefinition) -> str:
    return f"sensor {sensor.name}: {sensor.default_status.value}, every {sensor.minimum_interval_seconds} s"


def _schedule(schedule: dg.ScheduleDefinition) -> str:
    return f"schedule {schedule.name}: {schedule.default_status.value}, {_crons(schedule.cron_schedule)}"


def _crons(cron: str | Iterable[str]) -> str:
    return cron if isinstance(cron, str) else " and ".join(cron)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    FILE.write_text(described(build_definitions(Settings())))
