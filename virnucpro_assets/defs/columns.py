"""Columns: what each column of an asset means, and from which columns of other assets it is made."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from virnucpro_assets.defs.metadata import Metadata

Column = tuple[str, str]
"""The meaning of a column, and the columns that it is made from, as `asset.column other.column`."""

SCORES = "predictions.p_others predictions.p_virus"
CALLED = f"{SCORES} predictions.id"
EMBEDDED = "merged_embeddings.embeddings"

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
    "predictions": {
        "id": ("read, chunk and frame, as in sample7_chunk_1F2", ""),
        "label": ("virus if p_virus is the larger, else others", EMBEDDED),
        "p_others": ("probability that the frame is not viral", EMBEDDED),
        "p_virus": ("probability that the frame is viral", EMBEDDED),
        "route": ("by what it was scored: joint, dna or protein", "sequence_index.nucleotide"),
        "p_virus_calibrated": ("p_virus as the classifier's card calibrates it", EMBEDDED),
    },
    "virus_calls": {
        "name": ("of the read or contig", ""),
        "length": ("bases", ""),
        "chunks": ("how many it was cut into", ""),
        "scored_chunks": ("how many of them have a stop-free frame with a score", "predictions.id"),
        "unreadable_frames": ("stop-free frames with under half of their codons readable", ""),
        "call": ("Viral, Non-viral or Ambiguous", CALLED),
        "tier": ("how sure the call is: high, moderate or low confidence, or review", CALLED),
        "weighted_delta": ("above 0 for virus, below for others, over all chunks", CALLED),
        "n_confident_viral": ("chunks that are surely viral", CALLED),
        "n_confident_nonviral": ("chunks that are surely not", CALLED),
        "n_ambiguous": ("chunks with high scores for both", CALLED),
        "viral_proportion": ("surely viral chunks, of those that are not ambiguous", CALLED),
        "nonviral_proportion": ("surely not viral chunks, of those that are not ambiguous", CALLED),
        "max_score_0": ("largest P(others) of any frame", "predictions.p_others"),
        "max_score_1": ("largest P(virus) of any frame", "predictions.p_virus"),
        "reason": ("why there is no call", "predictions.id"),
        "route": ("by what the read was scored: joint, dna or protein", "predictions.route"),
        "p_virus_calibrated": (
            "max_score_1 as the classifier's card calibrates it",
            "predictions.p_virus_calibrated",
        ),
        "q_value": (
            "expected share of reads that are no virus among all at least as sure; null without a calibration",
            "predictions.p_virus_calibrated",
        ),
    },
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
