"""Assets by drop, first half: the files that were delivered and their index."""

import dagster as dg

from virnucpro_assets.checks.results import CheckResult, every_read_accounted_for
from virnucpro_assets.defs import columns, metadata, pictures
from virnucpro_assets.defs.automation import once
from virnucpro_assets.defs.chains import Link, Made, Turn
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.index import IndexManifest
from virnucpro_assets.storage.drops import DropManifest
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

GROUP = "sequences"
INDEX_TYPES = {
    "protein_length": "int32",
    "nucleotide_length": "int32",
    "protein": "string",
    "nucleotide": "string",
}


def sequence_drop() -> Link:
    """The asset `sequence_drop`."""

    def make(turn: Turn) -> Made:
        list_drop(turn.drop, turn.settings)
        drop = turn.work.drop
        return Made(
            drop.digest,
            {
                "files": len(drop.records),
                "bytes": sum(record.size for record in drop.records),
                "digest": drop.digest,
                "chunk_length": drop.source.chunk_length,
                "listing": _listing(drop),
            },
        )

    return Link(
        dg.AssetSpec(
            "sequence_drop",
            group_name=GROUP,
            kinds={"fastq"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description=(
                "The read files of one delivery (FASTA, FASTQ or unaligned BAM), listed with size and SHA-256."
            ),
        ),
        make,
    )


def _listing(drop: DropManifest) -> dg.TableMetadataValue:
    files = zip(drop.source.files, drop.records, strict=True)
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"path": str(file.path), "bytes": record.size, "sha256": record.sha256})
            for file, record in files
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("sha256")]
        ),
    )


def sequence_index(partitions: Partitions) -> Link:
    """The asset `sequence_index`."""

    def make(turn: Turn) -> Made:
        work = turn.work
        index = index_drop(work)
        return Made(
            index.digest,
            {
                **_index_figures(index),
                **pictures.protein_lengths(work),
                "reads_without_candidates": metadata.counts_table(index.reasons, "reason"),
                "folder": metadata.path(work.folder.index),
                **columns.of_arrays("sequence_index", INDEX_TYPES),
            },
        )

    def verify(turn: Turn) -> list[CheckResult]:
        index = turn.work.index
        with_members = sum(int((batch.members > 0).sum()) for batch in index.read_batches())
        return [every_read_accounted_for(index.manifest, with_members)]

    return Link(
        dg.AssetSpec(
            "sequence_index",
            deps=["sequence_drop"],
            group_name=GROUP,
            kinds={"parquet"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description=(
                "Every distinct stop-free reading frame of the drop, longest first, with its nucleotides and protein, "
                "and where each one occurs (read, chunk, frame)."
            ),
        ),
        make,
        checks=[
            dg.AssetCheckSpec(
                "every_read_accounted_for",
                asset="sequence_index",
                blocking=True,
                partitions_def=partitions.drops,
                description="Each read has candidates, or a reason why it has none.",
            )
        ],
        verify=verify,
    )


def _index_figures(index: IndexManifest) -> dict[str, int | float | str]:
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
