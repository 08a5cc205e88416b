"""Runs without the UI: the jobs of a drop, one after the other, on an instance."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.defs.jobs import AFTER_EMBEDDINGS, BEFORE_EMBEDDINGS, EMBEDDINGS, TRAINING_STEP
from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.defs.process_runs import COMMAND, TAG, fail_dead_runs, this_process
from virnucpro_assets.defs.standing import Work, stretches
from virnucpro_assets.errors import IntegrityError, VirnucproError
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
INTERRUPTED, INTERRUPTED_CODE = "interrupted; what is finished is kept, start again to go on", 130
DROP = "virnucpro/drop"
"""The drop of a run of the command line: its ranks are a range, by which nobody can look for a drop."""
REPOSITORY, REPOSITORY_LABEL = ".dagster/repository", "__repository__@virnucpro_assets"
"""The tag by which the UI lists the runs of a job; a process without a code location gives none."""

Job = Callable[[], dg.JobDefinition]


class RunError(VirnucproError):
    """A run failed; the message is that of the step that failed first."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def materialise_drop(
    jobs: tuple[Job, Job, Job],
    instance: dg.DagsterInstance,
    settings: Settings,
    drop: str,
    *,
    replace: bool = False,
) -> None:
    """Run the three jobs on a drop, all ranks of it, which is bound to the generation that the first one lists.

    `jobs` are functions of a module, by whose names the jobs are found again. Earlier runs whose
    process was killed are marked as failed first. Raises RunError with the line of the step that
    failed, IntegrityError if somebody else made another generation the current one meanwhile.
    """
    fail_dead_runs(instance)
    if not instance.has_dynamic_partition(DROPS, drop):
        instance.add_dynamic_partitions(DROPS, [drop])
    first, last = Partitions(settings.ranks).range_of(drop)
    by_drop = {PARTITION: drop, DROP: drop}
    by_rank = {RANGE_START: first, RANGE_END: last, DROP: drop}
    replacing = {"ops": {asset: {"config": {"replace": replace}} for asset in EMBEDDINGS}}
    index_drop, embed_drop, call_drop = jobs
    _run(index_drop, instance, by_drop, {})
    store = DropStore(settings.data_root)
    bound, _ = store.current(drop)
    for job, tags, config in ((embed_drop, by_rank, replacing), (call_drop, by_drop, {})):
        _run(job, instance, tags, config)
        now, _ = store.current(drop)
        if now.digest != bound.digest or not now.source.same_results(bound.source):
            raise IntegrityError(
                f"drop {drop}",
                found=f"generation {now.generation} of files or options registered meanwhile",
                expected=f"{bound.generation}, with which this run began",
                advice="Start it again.",
            )


def make_again(
    jobs: tuple[Job, Job, Job], instance: dg.DagsterInstance, partitions: Partitions, drop: str, work: Work
) -> None:
    """Run as much of the three jobs on a drop as `work` says: some assets, and of the embeddings some ranks.

    Raises RunError as `materialise_drop` does.
    """
    index_drop, embed_drop, call_drop = jobs
    if before := [asset for asset in BEFORE_EMBEDDINGS if asset in work]:
        _run(index_drop, instance, {PARTITION: drop, DROP: drop}, {}, before)
    by_ranks: dict[tuple[int, ...], list[str]] = {}
    for asset in EMBEDDINGS:
        keys = partitions.of_asset(asset, drop) or []
        ranks = tuple(rank for rank, key in enumerate(keys) if key in work.get(asset, ()))
        by_ranks.setdefault(ranks, []).append(asset)
    for ranks, assets in by_ranks.items():
        for first, last in stretches(ranks):
            tags = {RANGE_START: f"{drop}|{first}", RANGE_END: f"{drop}|{last}", DROP: drop}
            _run(embed_drop, instance, tags, {}, assets)
    if after := [asset for asset in AFTER_EMBEDDINGS if asset in work]:
        _run(call_drop, instance, {PARTITION: drop, DROP: drop}, {}, after)


def embed_drop(
    jobs: tuple[Job, Job, Job], instance: dg.DagsterInstance, partitions: Partitions, drop: str
) -> None:
    """Run as much of the three jobs on a drop as ends with its merged embeddings.

    Raises RunError as `materialise_drop` does.
    """
    fail_dead_runs(instance)
    if not instance.has_dynamic_partition(DROPS, drop):
        instance.add_dynamic_partitions(DROPS, [drop])
    assets = ("sequence_drop", "sequence_index", *EMBEDDINGS, "merged_embeddings")
    work = {asset: set(partitions.of_asset(asset, drop) or ()) for asset in assets}
    make_again(jobs, instance, partitions, drop, work)


def run_training(job: Job, instance: dg.DagsterInstance, config: Mapping[str, Any]) -> None:
    """Run the job that trains a classifier. Raises RunError as `materialise_drop` does."""
    _run(job, instance, {}, {"ops": {TRAINING_STEP: {"config": dict(config)}}})


def _run(
    job: Job,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    config: dict[str, Any],
    assets: Sequence[str] | None = None,
) -> None:
    with dg.execute_job(
        dg.reconstructable(job),
        instance=instance,
        # Whoever typed the command sees that it was killed: the daemon shall not do it again.
        tags={
            **tags,
            REPOSITORY: REPOSITORY_LABEL,
            TAG: this_process(),
            COMMAND: "yes",
            "dagster/max_retries": "0",
        },
        run_config={"loggers": {"terminal": {}}, **config},
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
    ) as result:
        if not result.success:
            raise _error_of(result)


def _error_of(result: dg.JobExecutionResult) -> RunError:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            data = failure.user_failure_data
            if data is not None and data.description:
                code = data.metadata.get("exit_code")
                return RunError(data.description, int(str(code.value)) if code else 1)
            if failure.error and failure.error.cls_name == "DagsterExecutionInterruptedError":
                return RunError(INTERRUPTED, INTERRUPTED_CODE)
            cause = failure.error and (failure.error.cause or failure.error)
            message = cause.message.strip() if cause else "no message"
            return RunError(f"run {result.run_id}, step {event.step_key}: {message}", 1)
    return RunError(f"run {result.run_id} failed before its first step; its log says why", 1)
