"""The runs that ended, in the order of the event log, from where the last look of a sensor stopped.

The run status sensors of Dagster take one run a tick where they ask for runs, do not see the runs of the
command line, and go on to the next event when their function fails.
"""

from collections.abc import Mapping

import dagster as dg

RUNS_A_TICK = 200


def ended_runs(
    instance: dg.DagsterInstance, cursors: Mapping[str, str], *kinds: dg.DagsterEventType
) -> tuple[list[tuple[dg.DagsterRun, str]], dict[str, str]]:
    """The runs that ended in one of these ways after the cursors, with the message of the event; and the next cursors.

    The first look, without a cursor, finds none, and those that ended before it are never found.
    """
    after = dict(cursors)
    found = []
    for kind in kinds:
        is_first = kind.value not in after
        ended = instance.fetch_run_status_changes(
            kind, limit=1 if is_first else RUNS_A_TICK, cursor=after.get(kind.value), ascending=not is_first
        )
        after[kind.value] = ended.cursor
        for record in [] if is_first else ended.records:
            if run := instance.get_run_by_id(record.run_id):
                event = record.event_log_entry.dagster_event
                found.append((run, (event and event.message) or ""))
    return found, after
