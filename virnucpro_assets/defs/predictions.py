"""Assets by drop, second half: merged embeddings, predictions and calls.

The freshness policy of `predictions`, off unless `fresh_hours` is set, is Dagster's own: it looks at the last
materialisation, whichever partition it was of. So drops that were finished long ago never count against it, and it
says one thing: that nothing was predicted for a while. That a drop which did arrive gets its predictions is what the
sensor `alerts` looks after.
"""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from virnucpro_assets.checks.results import PRECISION_CHECKS, CheckResult, completeness, holds_back
from virnucpro_assets.defs import columns, metadata, pictures
from virnucpro_assets.defs.automation import once
from virnucpro_assets.defs.chains import Link, Made, Turn
from virnucpro_assets.defs.partitions import Partitions, across_ranks
from virnucpro_assets.pipeline.call import READS_BY_ROUTE, call_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE, READ_SCHEMA
from virnucpro_assets.storage.hits import HITS_FILE
from virnucpro_assets.storage.merged import VIEW
from virnucpro_assets.storage.prediction_tables import PREDICTION_SCHEMA, PREDICTIONS_FILE
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

GROUP = "calls"
WARN_AT = 0.75
DESCRIPTIONS = (
    "Stored embeddings, in the precision in use, against float32: cosine of each sequence, and labels.",
    "The same sequences computed in float16 against float32.",
    "Stored embeddings, computed packed, against the same sequences one at a time.",
)


def merged_embeddings(partitions: Partitions) -> Link:
    """The asset `merged_embeddings`."""

    def make(turn: Turn) -> Made:
        work = turn.work
        merged = merge_drop(work)
        return Made(
            merged.digest,
            {
                "dagster/row_count": merged.rows,
                **columns.of_arrays(
                    "merged_embeddings", {"rows": "int64", "embeddings": f"float32[{merged.width}]"}
                ),
                "width": merged.width,
                "sources": len(merged.sources),
                "recipes": dg.MetadataValue.json(
                    {kind: recipe.digest for kind, recipe in merged.recipes.items()}
                ),
                "file": metadata.path(work.folder.path / VIEW),
            },
        )

    def verify(turn: Turn) -> list[CheckResult]:
        return [completeness(turn.work)]

    return Link(
        dg.AssetSpec(
            "merged_embeddings",
            deps=[across_ranks("dnabert_s_embeddings"), across_ranks("esm2_embeddings"), "sequence_index"],
            group_name="embeddings",
            kinds={"hdf5"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description="DNA and protein embeddings of all ranks side by side: a view over the shards, not a copy.",
        ),
        make,
        checks=[
            dg.AssetCheckSpec(
                "completeness",
                asset="merged_embeddings",
                blocking=True,
                partitions_def=partitions.drops,
                description="Each row of the index once, in the right order, every digest as recorded.",
            )
        ],
        verify=verify,
    )


def predictions(settings: Settings, partitions: Partitions) -> Link:
    """The asset `predictions`, with the checks of its precision."""

    def make(turn: Turn) -> Made:
        work = turn.work
        tables, summary = predict_drop(work)
        return Made(
            tables.digest,
            {
                "dagster/row_count": summary.members,
                **columns.of_table("predictions", PREDICTION_SCHEMA),
                "virus": summary.virus,
                "virus_share": summary.virus / summary.members if summary.members else 0.0,
                "not_scored": summary.not_scored,
                **pictures.scores(work),
                "made_from": dg.MetadataValue.json(tables.inputs),
                "file": metadata.path(work.folder.predictions / PREDICTIONS_FILE),
                "checks": metadata.page(work.folder.check_page, work.settings),
            },
        )

    return Link(
        dg.AssetSpec(
            "predictions",
            deps=["merged_embeddings", "sequence_index", "classifier"],
            group_name=GROUP,
            kinds={"parquet"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            freshness_policy=freshness(settings),
            description="P(others) and P(virus) of every stop-free frame, in the order of the input.",
        ),
        make,
        checks=_precision_checks(settings, partitions),
        verify=_verify_precision,
    )


def _precision_checks(settings: Settings, partitions: Partitions) -> list[dg.AssetCheckSpec]:
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


def _verify_precision(turn: Turn) -> Iterator[CheckResult]:
    """The results of PRECISION_CHECKS for a drop."""
    yield from check_precision(turn.work)


def freshness(settings: Settings) -> dg.FreshnessPolicy | None:
    """The freshness policy of `predictions`, if the settings want one; it warns after three quarters."""
    if settings.fresh_hours is None:
        return None
    whole = timedelta(hours=settings.fresh_hours)
    return dg.FreshnessPolicy.time_window(fail_window=whole, warn_window=whole * WARN_AT)


def virus_calls() -> Link:
    """The asset `virus_calls`."""

    def make(turn: Turn) -> Made:
        work = turn.work
        tables = call_drop(work)
        return Made(
            tables.digest,
            {
                "dagster/row_count": tables.counts["reads"],
                **columns.of_table("virus_calls", READ_SCHEMA),
                "hits": tables.counts["hits"],
                "viral_share": tables.counts["viral_reads"] / max(1, tables.counts["reads"]),
                "calls": metadata.counts_table(
                    {name: n for name, n in tables.counts.items() if ", " in name}, "call"
                ),
                "reads_by_route": metadata.counts_table(
                    {
                        name.removeprefix(f"{READS_BY_ROUTE} "): n
                        for name, n in tables.counts.items()
                        if name.startswith(READS_BY_ROUTE)
                    },
                    "route",
                ),
                **pictures.calls(tables),
                "made_from": dg.MetadataValue.json(tables.inputs),
                "table": metadata.path(work.folder.calls / READ_CALLS_FILE),
                "hits_file": metadata.path(work.folder.calls / HITS_FILE),
            },
        )

    return Link(
        dg.AssetSpec(
            "virus_calls",
            deps=["predictions", "sequence_index"],
            group_name=GROUP,
            kinds={"parquet", "fasta"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description="The call of every chunk and of every read or contig with its tier, and the hits as FASTA.",
        ),
        make,
    )
