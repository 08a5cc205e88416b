"""Assets by drop, first half: the files that were delivered and their index."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs import metadata, pictures
from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.pipeline.arrivals import list_drop
from virnucpro_assets.pipeline.checks import every_read_accounted_for, record_check
from virnucpro_assets.pipeline.embeddings import index_drop
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

GROUP = "sequences"


def sequence_drop(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset `sequence_drop`."""

    @dg.asset(
        partitions_def=partitions.drops,
        group_name=GROUP,
        kinds={"fastq"},
        code_version=str(ENGINE_FORMAT),
        description="The read files of one delivery (FASTA, FASTQ or unaligned BAM), listed with size and SHA-256.",
    )
    def sequence_drop(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with mendable():
            drop = list_drop(context.partition_key, settings)
        files = zip(drop.source.files, drop.records, strict=True)
        return dg.MaterializeResult(
            data_version=metadata.data_version(drop.digest),
            metadata={
                "files": len(drop.records),
                "bytes": sum(record.size for record in drop.records),
                "digest": drop.digest,
                "chunk_length": drop.source.chunk_length,
                "listing": dg.MetadataValue.table(
                    [
                        dg.TableRecord(
                            {"path": str(file.path), "bytes": record.size, "sha256": record.sha256}
                        )
                        for file, record in files
                    ],
                    schema=dg.TableSchema(
                        [dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("sha256")]
                    ),
                ),
            },
        )

    return sequence_drop


def sequence_index(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset `sequence_index`."""

    @dg.asset(
        partitions_def=partitions.drops,
        deps=["sequence_drop"],
        group_name=GROUP,
        kinds={"parquet"},
        code_version=str(ENGINE_FORMAT),
        check_specs=[
            dg.AssetCheckSpec(
                "every_read_accounted_for",
                asset="sequence_index",
                blocking=True,
                partitions_def=partitions.drops,
                description="Each read has candidates, or a reason why it has none.",
            )
        ],
        description=(
            "Every distinct stop-free reading frame of the drop, longest first, with its nucleotides and protein, "
            "and where each one occurs (read, chunk, frame)."
        ),
    )
    def sequence_index(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with mendable():
            work = DropWork.on(context.partition_key, settings, context.log.info)
            index = index_drop(work)
            with_members = sum(int((batch.members > 0).sum()) for batch in work.index.read_batches())
            result = record_check(work.folder.checks, every_read_accounted_for(index, with_members))
        found: metadata.Metadata = {
            "dagster/row_count": index.rows,
            "reads": index.reads,
            "bases": index.bases,
            "candidates": index.members,
            "distinct_candidates": index.rows,
            "repeated_share": 1 - index.rows / index.members if index.members else 0.0,
            "renamed_reads": index.renamed,
            **pictures.protein_lengths(work),
            "reads_without_candidates": metadata.counts_table(index.reasons, "reason"),
            "ranks": index.ranks,
            "digest": index.digest,
            "folder": metadata.path(work.folder.index),
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn("protein_length", "int32", "residues"),
                    dg.TableColumn("nucleotide_length", "int32", "bases"),
                    dg.TableColumn("protein", "string", "stop-free translation of the frame"),
                    dg.TableColumn("nucleotide", "string", "the bases it was translated from"),
                ]
            ),
        }
        yield dg.MaterializeResult(
            data_version=metadata.data_version(index.digest),
            metadata=found,
            check_results=[metadata.check_result(result)],
        )

    return sequence_index
