"""What failed in a run: the failure that ends a step, and what later readers find of it in the event log.

A step of several drops fails with the errors of some of them. So its failure has their lines, exit codes and failed
ranks by drop, in its metadata; the name of the drop is empty where the step does not know it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS, drops_of
from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.maintenance.alerts import AlertEntry

LINES, EXIT_CODES, RANKS = "drops", "exit_codes", "ranks"
INTERRUPTED, INTERRUPTED_CODE = "interrupted; what is finished is kept, start again to go on", 130
NO_REASON = "no reason is on record"

Error = VirnucproError | OSError


def failure_of(errors: Sequence[tuple[str, Error]]) -> dg.Failure:
    """A failure with all lines; those, the exit codes and the failed ranks by drop are its metadata."""
    by_drop: dict[str, list[Error]] = {}
    for drop, error in errors:
        by_drop.setdefault(drop, []).append(error)
    lines = {drop: "; ".join(dict.fromkeys(map(_text, found))) for drop, found in by_drop.items()}
    codes = {drop: exit_code_of(found[0]) for drop, found in by_drop.items()}
    ranks = {
        drop: sorted(
            {rank for error in found if isinstance(error, EmbeddingError) for _, rank in error.failures}
        )
        for drop, found in by_drop.items()
    }
    metadata: dict[str, Any] = {
        "exit_code": exit_code_of(errors[0][1]),
        EXIT_CODES: dg.MetadataValue.json(codes),
        LINES: dg.MetadataValue.json(lines),
        RANKS: dg.MetadataValue.json({drop: failed for drop, failed in ranks.items() if failed}),
    }
    several = len(by_drop) > 1
    return dg.Failure(
        "; ".join(f"drop {drop}: {line}" if several else line for drop, line in lines.items()),
        metadata,
        allow_retries=False,
    )


def exit_code_of(error: Error) -> int:
    """The exit code of a command that an error of a drop ends."""
    return error.exit_code if isinstance(error, VirnucproError) else VirnucproError.exit_code


def failures_of(instance: dg.DagsterInstance, run: dg.DagsterRun, otherwise: str) -> list[AlertEntry]:
    """What failed in a run, by drop; `otherwise` is the reason where no step says one."""
    reasons: dict[str, list[str]] = {}
    ranks: dict[str, list[int]] = {}
    lines: list[str] = []
    drops = drops_of(run, instance.get_dynamic_partitions(DROPS))
    only = drops[0] if len(drops) == 1 else ""
    for event in _step_failures(instance, run):
        by_drop = _by_drop(event, LINES)
        for drop, line in by_drop.items():
            reasons.setdefault(drop or only, []).append(line)
        for drop, failed in _by_drop(event, RANKS).items():
            ranks[drop or only] = failed
        if not by_drop:
            lines.append(_first_line(_known_message(event) or _unexpected_message(event)))
    if lines or not reasons:
        for drop in drops or [""]:
            reasons.setdefault(drop, lines or [_first_line(otherwise)])
    return [
        AlertEntry(
            drop=drop,
            ranks=ranks.get(drop, []),
            reason="; ".join(dict.fromkeys(found)),
            command=f"virnucpro retry {drop}" if drop else "see the log of the run",
        )
        for drop, found in reasons.items()
    ]


def message_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The whole message of the step of a run that failed first."""
    failure = next(_step_failures(instance, run), None)
    if failure is None:
        return f"run {run.run_id} failed before its first step; its log says why"
    unexpected = f"run {run.run_id}, step {failure.step_key}: {_unexpected_message(failure)}"
    return _known_message(failure) or unexpected


def exit_code_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, drop: str) -> int:
    """The exit code of a command that ends as a failed run did for a drop."""
    for event in _step_failures(instance, run):
        codes = _by_drop(event, EXIT_CODES)
        if code := codes.get(drop) or codes.get(""):
            return int(code)
        if _is_interruption(event):
            return INTERRUPTED_CODE
    return VirnucproError.exit_code


def _step_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    for record in records:
        if (event := record.event_log_entry.dagster_event) is not None:
            yield event


def _known_message(failure: dg.DagsterEvent) -> str:
    """What a failed step says itself, whole; empty if it ended with an error that it did not expect."""
    known = failure.step_failure_data.user_failure_data
    return INTERRUPTED if _is_interruption(failure) else (known and known.description) or ""


def _unexpected_message(failure: dg.DagsterEvent) -> str:
    """The message of the error that a step did not expect."""
    error = failure.step_failure_data.error
    cause = error and (error.cause or error)
    return (cause and cause.message.strip()) or NO_REASON


def _by_drop(failure: dg.DagsterEvent, name: str) -> dict[str, Any]:
    known = failure.step_failure_data.user_failure_data
    value = known.metadata.get(name) if known else None
    return value.data if isinstance(value, dg.JsonMetadataValue) and isinstance(value.data, dict) else {}


def _is_interruption(failure: dg.DagsterEvent) -> bool:
    error = failure.step_failure_data.error
    return error is not None and error.cls_name == "DagsterExecutionInterruptedError"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), NO_REASON)


def _text(error: Error) -> str:
    return str(error) if isinstance(error, VirnucproError) else describe_os_error(error)
