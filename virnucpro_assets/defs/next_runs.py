"""How a drop comes from one of its three runs to the next: the sensor `next_runs`, and the schedule `retry_failed`.

A request starts the first run that a drop needs. The sensor reads the runs that succeeded since its last tick, in the
order of the event log, and asks for what follows each, so no request says more than one run. A request is tagged with
who asked, and a run that was asked for is always followed by the next one; one that a person started only with the
setting `automation`. The runs of a backfill are left to the backfill, those of a command to the command.

A schedule can launch runs of one job only, and the three runs of a drop are three jobs. So schedules leave a note of
what is to be made, of no drop of which something is at work, and the sensor asks for it at its next tick.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from virnucpro_assets.defs.drop_states import drops_at_work
from virnucpro_assets.defs.partitions import (
    CALL_DROP,
    EMBED_DROP,
    INDEX_DROP,
    JOBS,
    OF_CALL,
    OF_INDEX,
    PARTITION,
    RANGE_START,
    STAGES,
    Partitions,
    drop_and_rank,
    tags_of_ranks,
)
from virnucpro_assets.defs.records import PARENT_RUN, ended_runs
from virnucpro_assets.defs.statuses import MADE, Statuses, Todo, failed_drops, whole
from virnucpro_assets.defs.steps import DROP
from virnucpro_assets.errors import counted
from virnucpro_assets.settings import Settings

NEXT_RUNS, NIGHTLY, RETRY = "next_runs", "nightly_drops", "retry_failed"
ASKED_BY, COMMAND, BACKFILL = "virnucpro/asked_by", "command line", "dagster/backfill"


def next_runs(settings: Settings) -> dg.SensorDefinition:
    """The sensor `next_runs`; always on, for it goes on with what a schedule asked for too."""

    @dg.sensor(
        name=NEXT_RUNS,
        jobs=JOBS,
        minimum_interval_seconds=settings.scan_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the embeddings of a drop whose index is made, and for the calls of one that is embedded.",
    )
    def follow(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = json.loads(context.cursor or "{}")
        ended, cursors = ended_runs(context.instance, before, dg.DagsterEventType.RUN_SUCCESS)
        requests: dict[tuple[str, ...], dg.RunRequest] = {}
        for run, _ in ended:
            for request in next_runs_after(run, context.instance, settings):
                # Of two runs of ranks that ended together each sees all ranks.
                requests[request.job_name or "", *sorted(request.tags.values())] = request
        for schedule in (NIGHTLY, RETRY):
            cursors[schedule], todos = read_note(context.instance, schedule)
            if cursors[schedule] != before.get(schedule, ""):
                for drop, todo in todos.items():
                    key = f"{schedule} {cursors[schedule]} {drop}"
                    requests |= {
                        (key, r.run_key or ""): r for r in first_runs(drop, todo, settings, schedule, key)
                    }
        return dg.SensorResult(
            skip_reason=None if requests else "nothing to follow",
            run_requests=list(requests.values()),
            cursor=json.dumps(cursors),
        )

    return follow


def retry_failed(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule `retry_failed`: ask again for what failed, the oldest first."""

    @dg.schedule(
        name=RETRY,
        target=dg.AssetSelection.assets(*OF_INDEX),
        cron_schedule=settings.retry_cron,
        execution_timezone=settings.timezone,
        description=(
            "Asks again for what failed and what depends on it, the oldest first, "
            f"{counted(settings.retry_drops, 'drop')} at a time; what failed "
            f"{counted(settings.retry_limit, 'time')} is left to a person."
        ),
    )
    def retry(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        statuses = Statuses.of(context.instance, Partitions(settings.ranks))
        failed = failed_drops(context.instance, statuses)
        todos = [
            (one.drop, statuses.failed(one.drop, settings))
            for one in failed
            if one.most < settings.retry_limit
        ]
        given_up = [one.drop for one in failed if one.most >= settings.retry_limit]
        left = f"; left to a person: {', '.join(given_up)}" if given_up else ""
        return ask(context, RETRY, todos, f"nothing to try again{left}", most=settings.retry_drops)

    return retry


def ask(
    context: dg.ScheduleEvaluationContext,
    schedule: str,
    todos: Iterable[tuple[str, Todo]],
    nothing: str,
    most: int | None = None,
) -> dg.SkipReason:
    """Leave a note of the first `most` drops of which there is something to do and nothing at work."""
    at_work = drops_at_work(context.instance)
    due = dict([(drop, todo) for drop, todo in todos if todo and drop not in at_work][:most])
    if not due:
        return dg.SkipReason(nothing)
    leave_note(context.instance, schedule, str(context.scheduled_execution_time.timestamp()), due)
    return dg.SkipReason(f"asked for {counted(len(due), 'drop')}: {', '.join(list(due)[:20])}")


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
    run: dg.DagsterRun, instance: dg.DagsterInstance, settings: Settings
) -> Iterator[dg.RunRequest]:
    """The requests for what follows a run that succeeded: the embeddings of an index, or the calls of embeddings.

    The calls are asked for when all ranks are there, which a run of some ranks alone does not say.
    """
    if not _is_followed(run, settings):
        return
    drop = drop_and_rank(run.tags.get(PARTITION, run.tags.get(RANGE_START, "")))[0]
    made = _assets_of(run)
    if "sequence_index" in made:
        todo = whole(settings.ranks, index=False)
    elif made & {*STAGES[EMBED_DROP]} and _is_embedded(drop, instance, settings):
        todo = Todo(index=False, ranks={}, call=OF_CALL)
    else:
        return
    yield from first_runs(drop, todo, settings, run.tags.get(ASKED_BY) or NEXT_RUNS, f"after {run.run_id}")


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
