"""Runs of the command line: the jobs of a drop, one after the other, in this process."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import uuid4

import dagster as dg

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.classifier import record_in_use
from virnucpro_assets.defs.embeddings import STEP as EMBED
from virnucpro_assets.defs.failures import exit_code_of_run, message_of_run
from virnucpro_assets.defs.next_runs import ASKED_BY, COMMAND
from virnucpro_assets.defs.partitions import (
    CALL_DROP,
    DROPS,
    EMBED_DROP,
    INDEX_DROP,
    OF_CALL,
    TRAIN_CLASSIFIER,
    TRAINING_STEP,
    Partitions,
    tags_of_ranks,
)
from virnucpro_assets.defs.statuses import AT_WORK, Statuses, Todo, failed_drops, whole
from virnucpro_assets.defs.steps import DROP, PROCESS, fail_dead_runs, this_process
from virnucpro_assets.drops.work import no_such_drop
from virnucpro_assets.errors import IntegrityError, VirnucproError
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore


class RunError(VirnucproError):
    """A run failed; the message is that of the step that failed first."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def materialise_drop(
    instance: dg.DagsterInstance, settings: Settings, drop: str, *, replace: bool = False
) -> None:
    """Run the three jobs on a drop, all ranks of it, which is bound to the generation that the first one lists.

    Earlier runs whose process was killed are marked as failed first. Raises RunError with the line of the
    step that failed, IntegrityError if somebody else made another generation the current one meanwhile.
    """
    _prepare(instance, drop)
    _run_all(instance, settings, drop, whole(settings.ranks), replace=replace)


def materialise_embeddings(instance: dg.DagsterInstance, settings: Settings, drop: str) -> None:
    """Run as much of the three jobs on a drop as ends with its merged embeddings.

    Raises RunError and IntegrityError as `materialise_drop` does.
    """
    _prepare(instance, drop)
    ranks = whole(settings.ranks).ranks
    _run_all(instance, settings, drop, Todo(index=True, ranks=ranks, call=OF_CALL[:1]))


def retry_drops(
    instance: dg.DagsterInstance,
    settings: Settings,
    drops: Sequence[str],
    report: Callable[[str], None],
) -> list[VirnucproError]:
    """Make again what failed and what depends on it, and nothing else, drop by drop; returns the errors.

    What a blocking check holds back is made again too, so that the check runs again. Without names all drops
    of which something failed, the oldest failure first; of drops that are named also what was never made.
    `report` is called with a line for each drop: how it ended.
    """
    fail_dead_runs(instance)
    statuses = Statuses.of(instance, Partitions(settings.ranks))
    errors: list[VirnucproError] = []
    for drop in drops or [failed.drop for failed in failed_drops(instance, statuses)]:
        try:
            report(f"{drop}: {_retry(instance, statuses, settings, drop, named=bool(drops))}")
        except VirnucproError as error:
            report(f"{drop}: {str(error).removeprefix(f'drop {drop}: ')}")
            errors.append(error)
    return errors


def run_training(instance: dg.DagsterInstance, settings: Settings, config: Mapping[str, Any]) -> None:
    """Run the job that trains a classifier. Raises RunError as `materialise_drop` does."""
    _run(instance, settings, TRAIN_CLASSIFIER, {}, config={TRAINING_STEP: dict(config)})


def _prepare(instance: dg.DagsterInstance, drop: str) -> None:
    fail_dead_runs(instance)
    if not instance.has_dynamic_partition(DROPS, drop):
        instance.add_dynamic_partitions(DROPS, [drop])


def _retry(
    instance: dg.DagsterInstance, statuses: Statuses, settings: Settings, drop: str, *, named: bool
) -> str:
    if drop not in statuses.drops:
        raise no_such_drop(drop, statuses.drops, f"Check the name, or run `virnucpro materialize {drop}`.")
    if statuses.having(drop, AT_WORK):
        return "in progress; skipped"
    todo = statuses.unmaterialized(drop, settings) if named else statuses.failed(drop, settings)
    if not todo:
        return "nothing failed"
    _run_all(instance, settings, drop, todo)
    return "done"


def _run_all(
    instance: dg.DagsterInstance, settings: Settings, drop: str, todo: Todo, *, replace: bool = False
) -> None:
    """The runs of a drop one after the other, all on one generation."""
    # Dagster reads which classifier predictions are made from before their step begins.
    record_in_use(instance, settings)
    store, tags = DropStore(settings.data_root), {DROP: drop}
    if todo.index:
        _run(instance, settings, INDEX_DROP, tags, partition=drop)
    bound = store.current(drop)[0] if todo.index or store.was_listed(drop) else None

    def check_generation() -> None:
        now = store.current(drop)[0]
        if bound and (now.digest != bound.digest or not now.source.same_results(bound.source)):
            raise IntegrityError(
                f"drop {drop}",
                found=f"generation {now.generation} of files or options registered meanwhile",
                expected=f"{bound.generation}, with which this run began",
                advice="Start it again.",
            )

    for assets, first, last in todo.embed_runs():
        of_ranks = tags | tags_of_ranks(drop, first, last)
        _run(instance, settings, EMBED_DROP, of_ranks, config={EMBED: {"replace": replace}}, assets=assets)
        check_generation()
    if todo.call:
        _run(instance, settings, CALL_DROP, tags, partition=drop, assets=todo.call)
        check_generation()


def _run(
    instance: dg.DagsterInstance,
    settings: Settings,
    job: str,
    tags: Mapping[str, str],
    *,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    assets: Sequence[str] | None = None,
) -> None:
    ops, run_id = {op: {"config": values} for op, values in (config or {}).items()}, str(uuid4())
    result = (
        _definitions(settings)
        .resolve_job_def(job)
        .execute_in_process(
            run_id=run_id,
            instance=instance,
            partition_key=partition,
            tags={
                **tags,
                ASKED_BY: COMMAND,
                PROCESS: f"{run_id} {this_process()}",
                # Whoever typed the command sees that it was killed: the daemon shall not do it again.
                "dagster/max_retries": "0",
            },
            run_config={"loggers": {"terminal": {}}, "ops": ops},
            raise_on_error=False,
            asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
        )
    )
    if not result.success:
        run = result.dagster_run
        raise RunError(message_of_run(instance, run), exit_code_of_run(instance, run, tags.get(DROP, "")))


@cache
def _definitions(settings: Settings) -> dg.Definitions:
    """The definitions for runs on the machine where the command is called."""
    return build_definitions(settings.model_copy(update={"executor": "in_process"}))
