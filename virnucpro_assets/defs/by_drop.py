"""What the steps of one drop share: which drop it is, what of it is asked for, and its checks."""

from collections.abc import Callable, Iterable, Iterator

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, hold_back, record_check
from virnucpro_assets.defs.records import check_result, evaluation, latest_record
from virnucpro_assets.drops.work import DropWork

Event = dg.MaterializeResult[None] | dg.AssetCheckResult | dg.AssetCheckEvaluation
"""What a step of one drop yields."""


def drop_of(context: dg.AssetExecutionContext) -> str:
    """The drop of a run. "Execute all" on the checks of an asset names none: then the one made last of it."""
    if context.has_partition_key:
        return str(context.partition_key)
    assets = sorted({check.asset_key.to_user_string() for check in context.selected_asset_check_keys})
    latest = latest_record(context.instance, assets[0], None) if assets else None
    if latest is None or latest.partition_key is None or context.has_partition_key_range:
        raise dg.Failure(
            "this run: found no single drop; expected the partition of one. Choose partitions with Materialize, "
            "or run `virnucpro checks DROP`.",
            allow_retries=False,
        )
    context.log.info(f"no drop was chosen: the checks run on {latest.partition_key}, which was made last")
    return latest.partition_key


def is_selected(context: dg.AssetExecutionContext, asset: str) -> bool:
    """Whether a run is to make an asset."""
    return dg.AssetKey(asset) in context.selected_asset_keys


def checked(
    context: dg.AssetExecutionContext,
    work: DropWork,
    asset: str,
    check: Callable[[], Iterable[CheckResult]],
) -> Iterator[Event]:
    """Run and record the checks of an asset that are asked for; CheckError if one holds back what follows."""
    wanted = {key.name for key in context.selected_asset_check_keys if key.asset_key == dg.AssetKey(asset)}
    if not wanted:
        return
    results = [record_check(work.folder.checks, result) for result in check()]
    for result in results:
        if result.name in wanted:
            # Dagster looks for the partition of a result; a run without one records the evaluation alone.
            if context.has_partition_key:
                yield check_result(result)
            else:
                yield evaluation(context.instance, work.drop.key, result)
    for result in results:
        hold_back(work.drop.key, result)
