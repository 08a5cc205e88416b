"""Partitions, jobs and checks of a drop. Drops are added and removed, ranks are fixed, and a drop takes three runs.

A run has one partitions definition, so there is one run for the assets by drop up to the index, one for the embeddings,
which are partitioned by drop and rank, and one for the assets by drop after them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from virnucpro_assets.checks.rules import check_rules
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS

DROPS = "sequence_drops"
CLASSIFIER = "classifier"
OF_INDEX = ("sequence_drop", "sequence_index")
EMBEDDINGS = tuple(f"{kind}_embeddings" for kind in ENCODER_KINDS)
OF_CALL = ("merged_embeddings", "predictions", "virus_calls", "drop_report", "check_report")
"""Each is made from the one before, except the last, which is always made."""
ASSETS = (*OF_INDEX, *EMBEDDINGS, *OF_CALL)
TRAINING = ("training_set", "trained_classifier", "classifier_evaluation")

INDEX_DROP, EMBED_DROP, CALL_DROP = "index_drop", "embed_drop", "call_drop"
TRAIN_CLASSIFIER, TRAINING_STEP = "train_classifier", "train"
STAGES = {INDEX_DROP: OF_INDEX, EMBED_DROP: EMBEDDINGS, CALL_DROP: OF_CALL}
"""The jobs of a drop in their order, and the assets of each."""
JOBS = tuple(
    dg.define_asset_job(job, list(STAGES[job]), description=description)
    for job, description in (
        (INDEX_DROP, "List the files of a drop and build its index."),
        (EMBED_DROP, "Compute the embeddings of any ranks of a drop on the devices."),
        (CALL_DROP, "Merge the embeddings of a drop, predict, call and report."),
    )
)

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""The tags of a run over a range of partitions: Dagster documents them, and has no argument for them."""


@dataclass(frozen=True)
class Partitions:
    """The partitions of a deployment with W ranks."""

    ranks: int

    @property
    def drops(self) -> dg.DynamicPartitionsDefinition:
        """One partition a drop."""
        return dg.DynamicPartitionsDefinition(name=DROPS)

    @property
    def drop_ranks(self) -> dg.MultiPartitionsDefinition:
        """One partition a rank of a drop."""
        ranks = dg.StaticPartitionsDefinition([str(rank) for rank in range(self.ranks)])
        return dg.MultiPartitionsDefinition({"drop": self.drops, "rank": ranks})

    def definition(self, asset: str) -> dg.PartitionsDefinition:
        """The partitions definition of an asset of a drop."""
        return self.drop_ranks if asset in EMBEDDINGS else self.drops

    def of_asset(self, asset: str, drop: str) -> list[str]:
        """The partitions of an asset that belong to a drop."""
        ranks = range(self.ranks) if asset in EMBEDDINGS else [None]
        return [partition_key(drop, rank) for rank in ranks]


def partition_key(drop: str, rank: int | None = None) -> str:
    """The partition of a drop, or of a rank of it: then the text of Dagster's `MultiPartitionKey`."""
    return drop if rank is None else f"{drop}|{rank}"


def drop_and_rank(key: str) -> tuple[str, int | None]:
    """The drop of a partition, and the rank if it is of one."""
    drop, _, rank = key.partition("|")
    return drop, int(rank) if rank.isdecimal() else None


def check_specs(settings: Settings, *assets: str) -> list[dg.AssetCheckSpec]:
    """The checks of some assets of a drop; what follows waits for those that block."""
    partitions = Partitions(settings.ranks)
    return [
        dg.AssetCheckSpec(
            rule.name,
            asset=rule.asset,
            blocking=rule.blocking,
            partitions_def=partitions.definition(rule.asset),
            description=rule.what,
        )
        for rule in check_rules(settings)
        if rule.asset in assets
    ]


def tags_of_ranks(drop: str, first: int, last: int) -> dict[str, str]:
    """The tags of a run over the ranks of a drop from the first to the last."""
    return {RANGE_START: partition_key(drop, first), RANGE_END: partition_key(drop, last)}


def stretches(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each stretch of numbers without a gap, ascending."""
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in ordered]
    ends = [n for n in ordered if n + 1 not in ordered]
    return zip(starts, ends, strict=True)


def across_ranks(asset: str) -> dg.AssetDep:
    """A dependency between an asset by drop and one by drop and rank, in either direction."""
    return dg.AssetDep(
        asset, partition_mapping=dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="drop")
    )


def drops_and_ranks(context: dg.AssetExecutionContext) -> dict[str, list[int]]:
    """The ranks of each drop that a run asks for; a range may have gaps."""
    asked: dict[str, list[int]] = {}
    for key in context.partition_keys:
        drop, rank = drop_and_rank(key)
        if rank is None:
            raise TypeError(f"partition {key!r} is not of a drop and a rank")
        asked.setdefault(drop, []).append(rank)
    return {drop: sorted(ranks) for drop, ranks in asked.items()}


def drops_of(run: dg.DagsterRun, drops: Sequence[str]) -> list[str]:
    """The drops of a run by its tags; `drops` are all there are, in the order of their partitions."""
    if partition := run.tags.get(PARTITION):
        return [drop_and_rank(partition)[0]]
    first, last = (drop_and_rank(run.tags.get(tag, ""))[0] for tag in (RANGE_START, RANGE_END))
    if first not in drops or last not in drops:
        return sorted({first, last} - {""})
    return list(drops[drops.index(first) : drops.index(last) + 1])
