"""Runs without the UI: the assets of a drop, materialised in turn on an instance.

A run has one set of partitions, so a drop takes three: what is cut by drop up to the index,
the embeddings by rank, and what is cut by drop after them.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.defs.partitions import DROPS, Partitions
from virnucpro_assets.errors import VirnucproError

BEFORE_EMBEDDINGS = ("classifier", "sequence_drop", "sequence_index")
EMBEDDINGS = ("dnabert_s_embeddings", "esm2_embeddings")
AFTER_EMBEDDINGS = ("merged_embeddings", "predictions", "virus_calls", "drop_report")

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"


class RunError(VirnucproError):
    """A run failed; the message is that of the step that failed first."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def all_assets_job() -> dg.JobDefinition:
    """The job over all assets of the code location; runs select from it."""
    from virnucpro_assets.definitions import defs  # noqa: PLC0415 - loaded by name, in whichever process runs it

    return defs.resolve_implicit_global_asset_job_def()


def materialise_drop(instance: dg.DagsterInstance, partitions: Partitions, drop: str, *, replace: bool = False) -> None:
    """Materialise every asset of a drop. Raises RunError with the line of the step that failed."""
    if not instance.has_dynamic_partition(DROPS, drop):
        instance.add_dynamic_partitions(DROPS, [drop])
    first, last = partitions.range_of(drop)
    by_rank = {RANGE_START: first, RANGE_END: last}
    config = {"ops": {asset: {"config": {"replace": replace}} for asset in EMBEDDINGS}}
    _run(instance, BEFORE_EMBEDDINGS, {PARTITION: drop}, {})
    _run(instance, EMBEDDINGS, by_rank, config)
    _run(instance, AFTER_EMBEDDINGS, {PARTITION: drop}, {})


def _run(instance: dg.DagsterInstance, assets: Sequence[str], tags: dict[str, str], config: dict[str, Any]) -> None:
    with dg.execute_job(
        dg.reconstructable(all_assets_job),
        instance=instance,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        tags=tags,
        run_config={"loggers": {"terminal": {}}, **config},
        raise_on_error=False,
    ) as result:
        if not result.success:
            raise _error_of(result)


def _error_of(result: Any) -> RunError:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            data = failure.user_failure_data
            if data is not None and data.description:
                code = data.metadata.get("exit_code")
                return RunError(data.description, int(code.value) if code else 1)
            message = failure.error.message if failure.error else "no message"
            return RunError(f"run {result.run_id}, step {event.step_key}: {message.strip()}", 1)
    return RunError(f"run {result.run_id} failed before its first step; its log says why", 1)
