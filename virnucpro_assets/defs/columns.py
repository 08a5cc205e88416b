"""Columns: what each column of an asset means, and from which columns of other assets it is made."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.defs.metadata import Metadata
from virnucpro_assets.reports.outputs import columns_of
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE
from virnucpro_assets.storage.prediction_tables import PREDICTIONS_FILE

Column = tuple[str, str]
"""The meaning of a column, and the columns that it is made from, as `asset.column other.column`."""

SCORES = "predictions.p_others predictions.p_virus"
CALLED = f"{SCORES} predictions.id"
EMBEDDED = "merged_embeddings.embeddings"


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
    "dnabert_s_embeddings": {
        "rows": ("position in the index", ""),
        "embeddings": ("mean over the tokens of the nucleotides", "sequence_index.nucleotide"),
    },
    "esm2_embeddings": {
        "rows": ("position in the index", ""),
        "embeddings": ("mean over the residues of the protein", "sequence_index.protein"),
    },
    "merged_embeddings": {
        "rows": ("position in the index", "dnabert_s_embeddings.rows esm2_embeddings.rows"),
        "embeddings": (
            "the DNA's numbers, then the protein's",
            "dnabert_s_embeddings.embeddings esm2_embeddings.embeddings",
        ),
    },
    "predictions": _of_output(PREDICTIONS_FILE, {"id": "", "route": "sequence_index.nucleotide"}, EMBEDDED),
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
        CALLED,
    ),
}


def of_table(asset: str, schema: Any) -> Metadata:
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
    return _shown(asset, columns)


def of_arrays(asset: str, types: Mapping[str, str]) -> Metadata:
    """Column schema and lineage of an asset, from the types of its arrays."""
    columns = [dg.TableColumn(name, type_, COLUMNS[asset][name][0]) for name, type_ in types.items()]
    return _shown(asset, columns)


def _shown(asset: str, columns: Sequence[dg.TableColumn]) -> Metadata:
    made_from = {name: sources.split() for name, (_, sources) in COLUMNS[asset].items() if sources}
    lineage = {name: [_dependency(source) for source in sources] for name, sources in made_from.items()}
    shown: Metadata = {"dagster/column_schema": dg.TableSchema(columns)}
    return shown | ({"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {})


def _dependency(source: str) -> dg.TableColumnDep:
    asset, _, column = source.partition(".")
    return dg.TableColumnDep(dg.AssetKey(asset), column)
