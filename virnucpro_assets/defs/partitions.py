"""Partitions: drops come and go, ranks are fixed by the deployment."""

from dataclasses import dataclass

import dagster as dg

DROPS = "sequence_drops"
BY_RANK = ("dnabert_s_embeddings", "esm2_embeddings")
WITHOUT_PARTITIONS = ("classifier",)


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
        """One partition a rank of a drop; keys print as `drop|rank`."""
        ranks = dg.StaticPartitionsDefinition([str(rank) for rank in range(self.ranks)])
        return dg.MultiPartitionsDefinition({"drop": self.drops, "rank": ranks})

    def of_asset(self, asset: str, drop: str) -> list[str] | None:
        """The partitions of an asset that belong to a drop; None for the asset that has none."""
        if asset in WITHOUT_PARTITIONS:
            return None
        return [f"{drop}|{rank}" for rank in range(self.ranks)] if asset in BY_RANK else [drop]

    def range_of(self, drop: str) -> tuple[str, str]:
        """The first and last key of all ranks of a drop."""
        return f"{drop}|0", f"{drop}|{self.ranks - 1}"


def across_ranks(asset: str) -> dg.AssetDep:
    """A dependency between an asset by drop and one by drop and rank, in either direction."""
    return dg.AssetDep(
        asset, partition_mapping=dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="drop")
    )


def drops_and_ranks(context: dg.AssetExecutionContext) -> dict[str, list[int]]:
    """The ranks of each drop that a run asks for; a range may have gaps."""
    asked: dict[str, list[int]] = {}
    for key in context.partition_keys:
        if not isinstance(key, dg.MultiPartitionKey):
            raise TypeError(f"partition {key!r} is not of a drop and a rank")
        asked.setdefault(key.keys_by_dimension["drop"], []).append(int(key.keys_by_dimension["rank"]))
    return {drop: sorted(ranks) for drop, ranks in asked.items()}
