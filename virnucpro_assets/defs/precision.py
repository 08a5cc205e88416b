"""Checks of predictions that compute a sample again on the devices."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.chains import Turn
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.pipeline.checks import PRECISION_CHECKS, CheckResult, holds_back
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.settings import Settings

DESCRIPTIONS = (
    "Stored embeddings, in the precision in use, against float32: cosine of each sequence, and labels.",
    "The same sequences computed in float16 against float32.",
    "Stored embeddings, computed packed, against the same sequences one at a time.",
)


def check_specs(settings: Settings, partitions: Partitions) -> list[dg.AssetCheckSpec]:
    """The checks PRECISION_CHECKS of `predictions`; what follows waits for those that block."""
    return [
        dg.AssetCheckSpec(
            name,
            asset="predictions",
            blocking=holds_back(name, settings.precision),
            partitions_def=partitions.drops,
            description=description,
        )
        for name, description in zip(PRECISION_CHECKS, DESCRIPTIONS, strict=True)
    ]


def verify_precision(turn: Turn) -> Iterator[CheckResult]:
    """The results of PRECISION_CHECKS for a drop, in a chain that has devices."""
    if turn.pool is None:
        raise TypeError("the chain of predictions needs a pool of devices")
    with turn.pool.lease() as lease:
        yield from check_precision(turn.work, lease)
