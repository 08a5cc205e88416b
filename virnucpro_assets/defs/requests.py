"""Runs that are asked for: one for each of the three runs of a drop, by the sensors and the schedules.

A request starts the first run that a drop needs. The sensor `next_runs` asks for the next one when a run
succeeded, so no request says more than one run. It is tagged with who asked, and a run that was asked for is
always followed by the next one; one that a person started only with the setting `automation`. The
runs of a backfill are left to the backfill, those of a command to the command.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from virnucpro_assets.defs.partitions import (
    CALL_DROP,
    EMBED_DROP,
    INDEX_DROP,
    OF_CALL,
    PARTITION,
    RANGE_START,
    STAGES,
    Partitions,
    tags_of_ranks,
)
from virnucpro_assets.defs.records import PARENT_RUN
from virnucpro_assets.defs.statuses import MADE, Statuses, Todo, whole
from virnucpro_assets.defs.steps import DROP
from virnucpro_assets.settings import Settings

NIGHTLY, RETRY = "nightly_drops", "retry_failed"
ASKED_BY, COMMAND, BACKFILL = "virnucpro/asked_by", "command line", "dagster/backfill"


def first_runs(drop: str, todo: Todo, settings: Settings, asked_by: str, key: str) -> Iterator[dg.RunRequest]:
    """The requests for the first run that makes what is to be made of a drop.

    Of ranks with gaps there are several, and on a cluster one a rank. A request with the same `key` is made once.
    """
    tags = {ASKED_BY: asked_by, DROP: drop}
    if todo.index:
        yield dg.RunRequest(f"{key} index", job_name=INDEX_DROP, partition_key=drop, tags=tags)
    elif todo.ranks:
        for assets, first, last in todo.embed_runs(one_by_one=settings.executor != "in_process"):
            yield dg.RunRequest(
                f"{key} {', '.join(assets)} {first} to {last}",
                job_name=EMBED_DROP,
                tags={**tags, **tags_of_ranks(drop, first, last)},
                asset_selection=[dg.AssetKey(asset) for asset in assets],
            )
    elif todo.call:
        yield dg.RunRequest(
            f"{key} call",
            job_name=CALL_DROP,
            partition_key=drop,
            tags=tags,
            asset_selection=[dg.AssetKey(asset) for asset in todo.call],
        )


def leave_note(instance: dg.DagsterInstance, schedule: str, tick: str, todos: Mapping[str, Todo]) -> None:
    """Note what a tick of a schedule found to do, by drop, for the sensor `next_runs`."""
    note = {"tick": tick, "todos": {drop: asdict(todo) for drop, todo in todos.items()}}
    instance.daemon_cursor_storage.set_cursor_values({_note(schedule): json.dumps(note)})


def read_note(instance: dg.DagsterInstance, schedule: str) -> tuple[str, dict[str, Todo]]:
    """The last tick of a schedule that found something to do, and what; an empty name if there is none."""
    text = instance.daemon_cursor_storage.get_cursor_values({_note(schedule)}).get(_note(schedule))
    note: dict[str, Any] = json.loads(text) if text else {"tick": "", "todos": {}}
    todos = {drop: Todo(**todo | {"call": tuple(todo["call"])}) for drop, todo in note["todos"].items()}
    return note["tick"], todos


def _note(schedule: str) -> str:
    return f"virnucpro/{schedule} found"


def next_runs_after(
    run: dg.DagsterRun, instance: dg.DagsterInstance, settings: Settings, asked_by: str
) -> Iterator[dg.RunRequest]:
    """The requests for what follows a run that succeeded: the embeddings of an index, or the calls of embeddings.

    The calls are asked for when all ranks are there, which a run of some ranks alone does not say.
    """
    if not _is_followed(run, settings):
        return
    drop = run.tags.get(PARTITION, run.tags.get(RANGE_START, "")).split("|")[0]
    made = _assets_of(run)
    if "sequence_index" in made:
        todo = whole(settings.ranks, index=False)
    elif made & {*STAGES[EMBED_DROP]} and _is_embedded(drop, instance, settings):
        todo = Todo(index=False, ranks={}, call=OF_CALL)
    else:
        return
    yield from first_runs(drop, todo, settings, run.tags.get(ASKED_BY) or asked_by, f"after {run.run_id}")


def _is_followed(run: dg.DagsterRun, settings: Settings) -> bool:
    tags = run.tags
    is_command = tags.get(ASKED_BY) == COMMAND
    if BACKFILL in tags or (is_command and PARENT_RUN not in tags):
        return False
    return settings.automation or (ASKED_BY in tags and not is_command)


def _assets_of(run: dg.DagsterRun) -> set[str]:
    """The assets that a run was to make."""
    if not run.asset_selection:
        return {*STAGES.get(run.job_name, ())}
    return {key.to_user_string() for key in run.asset_selection}


def _is_embedded(drop: str, instance: dg.DagsterInstance, settings: Settings) -> bool:
    statuses = Statuses.of(instance, Partitions(settings.ranks), [drop])
    made = statuses.having(drop, MADE)
    return all(len(made.get(asset, ())) == settings.ranks for asset in STAGES[EMBED_DROP])
