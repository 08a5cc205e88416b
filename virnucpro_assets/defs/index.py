"""The first run of a drop: the files that were delivered, and their index."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.checks.results import every_read_accounted_for
from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.devices import step_tags
from virnucpro_assets.defs.partitions import Partitions, check_specs
from virnucpro_assets.defs.records import Event
from virnucpro_assets.defs.steps import checked, drop_of, is_selected, step_of
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.index_manifest import IndexManifest
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropManifest

INDEX_TYPES = {
    "protein_length": "int32",
    "nucleotide_length": "int32",
    "protein": "string",
    "nucleotide": "string",
}


def index(settings: Settings) -> dg.AssetsDefinition:
    """The assets `sequence_drop` and `sequence_index`, one step, which works on one generation of the drop."""

    @dg.multi_asset(
        name="index",
        specs=[
            dg.AssetSpec(
                "sequence_drop",
                group_name="sequences",
                kinds={"fastq"},
                description=(
                    "The read files of one delivery (FASTA, FASTQ or unaligned BAM), listed with size and SHA-256."
                ),
            ),
            dg.AssetSpec(
                "sequence_index",
                deps=["sequence_drop"],
                group_name="sequences",
                kinds={"parquet"},
                description=(
                    "Every distinct stop-free reading frame of the drop, longest first, with its nucleotides and "
                    "protein, and where each one occurs (read, chunk, frame)."
                ),
            ),
        ],
        check_specs=check_specs(settings, "sequence_index"),
        partitions_def=Partitions(settings.ranks).drops,
        can_subset=True,
        op_tags=step_tags(settings, devices=False),
    )
    def compute(context: dg.AssetExecutionContext) -> Iterator[Event]:
        drop = drop_of(context)
        with step_of(context, settings, drop):
            yield from _made(context, drop, settings)

    return compute


def _made(context: dg.AssetExecutionContext, drop: str, settings: Settings) -> Iterator[Event]:
    if is_selected(context, "sequence_drop"):
        list_drop(drop, settings)
    work = DropWork.on(drop, settings, context.log.info)
    if is_selected(context, "sequence_drop"):
        yield _listed(work.drop)
    if is_selected(context, "sequence_index"):
        yield _indexed(work, index_drop(work))
    yield from checked(context, work, "sequence_index", lambda: [every_read_accounted_for(work)])


def _listed(drop: DropManifest) -> dg.MaterializeResult[None]:
    files = zip(drop.source.files, drop.records, strict=True)
    listing = dg.MetadataValue.table(
        [
            dg.TableRecord({"path": str(file.path), "bytes": record.size, "sha256": record.sha256})
            for file, record in files
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("sha256")]
        ),
    )
    return dg.MaterializeResult(
        "sequence_drop",
        data_version=dg.DataVersion(drop.digest),
        metadata={
            "files": len(drop.records),
            "bytes": sum(record.size for record in drop.records),
            "digest": drop.digest,
            "chunk_length": drop.source.chunk_length,
            "listing": listing,
        },
    )


def _indexed(work: DropWork, manifest: IndexManifest) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        "sequence_index",
        data_version=dg.DataVersion(manifest.digest),
        metadata={
            **_figures(manifest),
            **metadata.picture_of_protein_lengths(work),
            "reads_without_candidates": metadata.counts_table(manifest.reasons, "reason"),
            "folder": metadata.path(work.folder.index),
            **metadata.columns_of_arrays("sequence_index", INDEX_TYPES),
        },
    )


def _figures(index: IndexManifest) -> dict[str, int | float | str]:
    return {
        "dagster/row_count": index.rows,
        "reads": index.reads,
        "bases": index.bases,
        "candidates": index.members,
        "distinct_candidates": index.rows,
        **({"frameless_reads_kept": index.whole_chunks.reads} if index.whole_chunks else {}),
        "repeated_share": 1 - index.rows / index.members if index.members else 0.0,
        "renamed_reads": index.renamed,
        "reads_with_u": index.reads_with_u,
        "unreadable_frames": index.unreadable_frames,
        "ranks": index.ranks,
        "digest": index.digest,
    }
