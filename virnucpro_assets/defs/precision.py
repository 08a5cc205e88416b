"""Checks of predictions that compute a sample again, as a step of their own on the devices."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.defs.gpu_pool import POOL, GpuPool
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.pipeline.checks import record_check
from virnucpro_assets.pipeline.precision_checks import PRECISION_CHECKS, check_precision, holds_back
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.settings import Settings

DESCRIPTIONS = (
    "Stored embeddings, in the precision in use, against float32: cosine of each sequence, and labels.",
    "The same sequences computed in float16 against float32.",
    "Stored embeddings, computed packed, against the same sequences one at a time.",
)


def precision_checks(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The checks PRECISION_CHECKS of `predictions`; what follows waits for those that block."""

    @dg.multi_asset_check(
        name="precision_checks",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset="predictions",
                blocking=holds_back(name, settings.precision),
                partitions_def=partitions.drops,
                description=description,
            )
            for name, description in zip(PRECISION_CHECKS, DESCRIPTIONS, strict=True)
        ],
        pool=POOL,
    )
    def precision_checks(
        context: dg.AssetCheckExecutionContext, gpu_pool: GpuPool
    ) -> Iterator[dg.AssetCheckResult]:
        with mendable(), gpu_pool.lease() as lease:
            work = DropWork.on(context.partition_key, settings, context.log.info)
            for result in check_precision(work, lease):
                yield metadata.check_result(record_check(work.folder.checks, result))

    return precision_checks
