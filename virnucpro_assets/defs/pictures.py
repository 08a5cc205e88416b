"""Small plots in the metadata of assets.

The plotting library is imported when a plot is drawn: loading the definitions must not wait for it.
"""

from typing import Any

import dagster as dg
import numpy as np

from virnucpro_assets.defs.metadata import picture
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.pipeline.predict import SCORES_FILE
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.storage.tables import TablesManifest

Picture = dict[str, dg.MetadataValue[Any]]


def protein_lengths(work: DropWork) -> Picture:
    """How long the distinct candidates of a drop are."""
    from virnucpro_assets.reports.histograms import LengthCounter  # noqa: PLC0415
    from virnucpro_assets.reports.plots import length_distribution  # noqa: PLC0415

    counter = LengthCounter()
    counter.add(work.index.protein_lengths()[: work.index.manifest.rows_with_protein])
    histogram = counter.histogram()
    return (
        {"lengths": picture(length_distribution(histogram, "candidates", "residues"))}
        if histogram.total
        else {}
    )


def packing(shard: ShardManifest) -> Picture:
    """How full the packs of each part of a shard are."""
    from virnucpro_assets.reports.plots import packing  # noqa: PLC0415

    shares = [part.counts.efficiency(shard.recipe.token_budget) for part in shard.parts]
    return {"packing": picture(packing(shares))} if shares else {}


def scores(work: DropWork) -> Picture:
    """The P(virus) of every distinct candidate of a drop."""
    from virnucpro_assets.reports.histograms import ScoreCounter  # noqa: PLC0415
    from virnucpro_assets.reports.plots import score_histogram  # noqa: PLC0415

    counter = ScoreCounter()
    counter.add(np.load(work.folder.predictions / SCORES_FILE, mmap_mode="r", allow_pickle=False)[:, 1])
    histogram = counter.histogram()
    return {"scores": picture(score_histogram(histogram))} if histogram.total else {}


def calls(tables: TablesManifest) -> Picture:
    """How many reads got which call in which tier."""
    from virnucpro_assets.reports.plots import calls_by_tier  # noqa: PLC0415

    counts = {call: {tier: tables.counts[f"{call}, {tier}"] for tier in TIERS} for call in CALLS}
    return {"calls_by_tier": picture(calls_by_tier(counts))} if tables.counts["called_reads"] else {}
