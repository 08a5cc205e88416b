"""What a materialisation shows of itself in the UI: paths, counts, small plots, and the meaning of its columns.

The plotting library is imported when a plot is drawn: loading the definitions must not wait for it.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.pipeline.predict import SCORES_FILE
from virnucpro_assets.reports.outputs import columns_of
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE
from virnucpro_assets.storage.calls import CALLS, TIERS
from virnucpro_assets.storage.prediction_tables import PREDICTIONS_FILE
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.storage.tables import TablesManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS

Metadata = dict[str, Any]


def path(value: Path) -> dg.MetadataValue[Any]:
    """A path in the file system."""
    return dg.MetadataValue.path(str(value.absolute()))


def page(value: Path, settings: Settings) -> dg.MetadataValue[Any]:
    """A page in the data root: a link where the settings say at which address pages are served, else its path."""
    if settings.reports_url is None:
        return path(value)
    below = value.absolute().relative_to(settings.data_root.absolute())
    return dg.MetadataValue.url(f"{settings.reports_url.rstrip('/')}/{below.as_posix()}")


def counts_table(counts: Mapping[str, int], what: str) -> dg.MetadataValue[Any]:
    """Counts by name, as a table of two columns."""
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| {what} | count |\n| --- | ---: |\n{rows}")


def picture(png: bytes) -> dg.MetadataValue[Any]:
    """A small plot, shown in place."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def picture_of_protein_lengths(work: DropWork) -> Metadata:
    """How long the distinct candidates of a drop are."""
    from virnucpro_assets.reports.histograms import LengthCounter  # noqa: PLC0415
    from virnucpro_assets.reports.plots import length_distribution  # noqa: PLC0415

    counter = LengthCounter()
    counter.add(work.index.protein_lengths()[: work.index.manifest.rows_with_protein])
    histogram = counter.histogram()
    if not histogram.total:
        return {}
    return {"lengths": picture(length_distribution(histogram, "candidates", "residues"))}


def picture_of_packing(shard: ShardManifest) -> Metadata:
    """How full the packs of each part of a shard are."""
    from virnucpro_assets.reports.plots import packing  # noqa: PLC0415

    shares = [part.counts.efficiency(shard.recipe.token_budget) for part in shard.parts]
    return {"packing": picture(packing(shares))} if shares else {}


def picture_of_scores(work: DropWork) -> Metadata:
    """The P(virus) of every distinct candidate of a drop."""
    from virnucpro_assets.reports.histograms import ScoreCounter  # noqa: PLC0415
    from virnucpro_assets.reports.plots import score_histogram  # noqa: PLC0415

    counter = ScoreCounter()
    counter.add(np.load(work.folder.predictions / SCORES_FILE, mmap_mode="r", allow_pickle=False)[:, 1])
    histogram = counter.histogram()
    return {"scores": picture(score_histogram(histogram))} if histogram.total else {}


def picture_of_calls(tables: TablesManifest) -> Metadata:
    """How many reads got which call in which tier."""
    from virnucpro_assets.reports.plots import calls_by_tier  # noqa: PLC0415

    counts = {call: {tier: tables.counts[f"{call}, {tier}"] for tier in TIERS} for call in CALLS}
    return {"calls_by_tier": picture(calls_by_tier(counts))} if tables.counts["called_reads"] else {}


Column = tuple[str, str]
"""The meaning of a column, and the columns that it is made from, as `asset.column other.column`."""


def _of_output(file: str, sources: Mapping[str, str], others: str) -> dict[str, Column]:
    """The columns of a file of results; what is not in `sources` is made from `others`."""
    return {name: (column.meaning, sources.get(name, others)) for name, column in columns_of(file).items()}


COLUMNS: dict[str, dict[str, Column]] = {
    "sequence_index": {
        "protein_length": ("residues", ""),
        "nucleotide_length": ("bases", ""),
        "protein": ("stop-free translation of the frame", ""),
        "nucleotide": ("the bases it was translated from", ""),
    },
    **{
        f"{kind}_embeddings": {
            "rows": ("position in the index", ""),
            "embeddings": (
                f"mean over the tokens of its {encoder.column}",
                f"sequence_index.{encoder.column.removesuffix('s')}",
            ),
        }
        for kind, encoder in ENCODERS.items()
    },
    "merged_embeddings": {
        "rows": ("position in the index", " ".join(f"{kind}_embeddings.rows" for kind in ENCODER_KINDS)),
        "embeddings": (
            "the DNA's numbers, then the protein's",
            " ".join(f"{kind}_embeddings.embeddings" for kind in ENCODER_KINDS),
        ),
    },
    "predictions": _of_output(
        PREDICTIONS_FILE, {"id": "", "route": "sequence_index.nucleotide"}, "merged_embeddings.embeddings"
    ),
    "virus_calls": _of_output(
        READ_CALLS_FILE,
        {
            **dict.fromkeys(("name", "length", "chunks", "unreadable_frames", "low_complexity_share"), ""),
            **dict.fromkeys(("scored_chunks", "reason"), "predictions.id"),
            **dict.fromkeys(("p_virus_calibrated", "q_value"), "predictions.p_virus_calibrated"),
            "max_score_0": "predictions.p_others",
            "max_score_1": "predictions.p_virus",
            "route": "predictions.route",
        },
        "predictions.p_others predictions.p_virus predictions.id",
    ),
}


def columns_of_table(asset: str, schema: Any) -> Metadata:
    """Column schema and lineage of an asset that is a table, from its Arrow schema."""
    columns = [
        dg.TableColumn(
            field.name,
            str(field.type),
            COLUMNS[asset][field.name][0],
            constraints=dg.TableColumnConstraints(nullable=field.nullable),
        )
        for field in schema
    ]
    return _with_lineage(asset, columns)


def columns_of_arrays(asset: str, types: Mapping[str, str]) -> Metadata:
    """Column schema and lineage of an asset, from the types of its arrays."""
    columns = [dg.TableColumn(name, type_, COLUMNS[asset][name][0]) for name, type_ in types.items()]
    return _with_lineage(asset, columns)


def _with_lineage(asset: str, columns: Sequence[dg.TableColumn]) -> Metadata:
    made_from = {name: sources.split() for name, (_, sources) in COLUMNS[asset].items() if sources}
    lineage = {name: [_dependency(source) for source in sources] for name, sources in made_from.items()}
    shown: Metadata = {"dagster/column_schema": dg.TableSchema(columns)}
    return shown | ({"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {})


def _dependency(source: str) -> dg.TableColumnDep:
    asset, _, column = source.partition(".")
    return dg.TableColumnDep(dg.AssetKey(asset), column)
