"""The third run of a drop: merged embeddings, predictions, calls and the reports on them, one step.

It works on one generation of the drop and stops where a blocking check does not pass. The check report is always made
at the end: it is needed most where results are held back.

The freshness policy of `predictions`, off unless `fresh_hours` is set, is Dagster's own. It looks at the last
materialisation of any partition, so it fails if nothing was predicted for a while, however old other drops are. A
single drop that waits for its predictions is found by the sensor `alerts`.
"""

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import dagster as dg

from virnucpro_assets.calling.routing import EXPECTED_FALSE, reads_by_route
from virnucpro_assets.checks.results import completeness
from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.devices import step_tags
from virnucpro_assets.defs.partitions import DROPS, EMBEDDINGS, OF_CALL, Partitions, across_ranks, check_specs
from virnucpro_assets.defs.records import Event, input_tags, latest_record, materialisation, recorded_version
from virnucpro_assets.defs.steps import checked, drop_of, is_selected, step_of
from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.reports.check_pages import write_check_report
from virnucpro_assets.reports.check_report import CheckReport
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE, READ_SCHEMA
from virnucpro_assets.storage.hits import HITS_FILE
from virnucpro_assets.storage.merged import MERGED_VIEW
from virnucpro_assets.storage.prediction_tables import PREDICTION_SCHEMA, PREDICTIONS_FILE

WARN_AT = 0.75
"""The share of the freshness window after which the UI warns."""


def calls(settings: Settings) -> dg.AssetsDefinition:
    """The assets from `merged_embeddings` to `check_report`."""

    @dg.multi_asset(
        name="call",
        specs=_specs(settings),
        check_specs=check_specs(settings, *OF_CALL),
        partitions_def=Partitions(settings.ranks).drops,
        can_subset=True,
        op_tags=step_tags(settings, devices=False),
    )
    def compute(context: dg.AssetExecutionContext) -> Iterator[Event]:
        drop = drop_of(context)
        with step_of(context, settings, drop) as errors:
            work = DropWork.on(drop, settings, context.log.info)
            if line := demo_line(settings.model_folders(work.drop.source.chunk_length)):
                context.log.info(line)
            try:
                yield from _made(context, work)
            except (VirnucproError, OSError) as error:
                errors.append((drop, error))
            if is_selected(context, "check_report"):
                yield _check_report(work, write_check_report(work))

    return compute


def _made(context: dg.AssetExecutionContext, work: DropWork) -> Iterator[Event]:
    if is_selected(context, "merged_embeddings"):
        yield _merged_embeddings(work)
    yield from checked(context, work, "merged_embeddings", lambda: [completeness(work)])
    if is_selected(context, "predictions"):
        yield _predictions(work)
    yield from checked(context, work, "predictions", lambda: check_precision(work))
    if is_selected(context, "virus_calls"):
        yield _virus_calls(work)
    if is_selected(context, "drop_report"):
        yield _drop_report(work)


def _specs(settings: Settings) -> list[dg.AssetSpec]:
    def spec(name: str, deps: list[str | dg.AssetDep], kinds: set[str], **more: Any) -> dg.AssetSpec:
        group = "embeddings" if name == "merged_embeddings" else "calls"
        return dg.AssetSpec(name, deps=deps, kinds=kinds, group_name=group, **more)

    fresh = None
    if settings.fresh_hours is not None:
        window = timedelta(hours=settings.fresh_hours)
        fresh = dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window * WARN_AT)
    return [
        spec(
            "merged_embeddings",
            [*map(across_ranks, EMBEDDINGS), "sequence_index"],
            {"hdf5"},
            description="DNA and protein embeddings of all ranks side by side: a view over the shards, not a copy.",
        ),
        spec(
            "predictions",
            ["merged_embeddings", "sequence_index", "classifier"],
            {"parquet"},
            freshness_policy=fresh,
            description="P(others) and P(virus) of every stop-free frame, in the order of the input.",
        ),
        spec(
            "virus_calls",
            ["predictions", "sequence_index"],
            {"parquet", "fasta"},
            description="The call of every chunk and of every read or contig with its tier, and the hits as FASTA.",
        ),
        spec(
            "drop_report",
            ["virus_calls"],
            {"html"},
            description="One page for people: counts, calls, lengths, speed and checks of a drop.",
        ),
        spec(
            "check_report",
            ["predictions"],
            {"html", "json"},
            description="Every check of a drop on one page: what was found, what is expected, and why.",
        ),
    ]


def _result(asset: str, digest: str, shown: metadata.Metadata) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(asset, data_version=dg.DataVersion(digest), metadata=shown)


def _merged_embeddings(work: DropWork) -> dg.MaterializeResult[None]:
    merged = merge_drop(work)
    return _result(
        "merged_embeddings",
        merged.digest,
        {
            "dagster/row_count": merged.rows,
            **metadata.columns_of_arrays(
                "merged_embeddings", {"rows": "int64", "embeddings": f"float32[{merged.width}]"}
            ),
            "width": merged.width,
            "sources": len(merged.sources),
            "recipes": dg.MetadataValue.json(
                {kind: recipe.digest for kind, recipe in merged.recipes.items()}
            ),
            "file": metadata.path(work.folder.path / MERGED_VIEW),
        },
    )


def _predictions(work: DropWork) -> dg.MaterializeResult[None]:
    tables, summary = predict_drop(work)
    return _result(
        "predictions",
        tables.digest,
        {
            "dagster/row_count": summary.members,
            **metadata.columns_of_table("predictions", PREDICTION_SCHEMA),
            "virus": summary.virus,
            "virus_share": summary.virus / summary.members if summary.members else 0.0,
            "not_scored": summary.not_scored,
            **metadata.picture_of_scores(work),
            "made_from": dg.MetadataValue.json(tables.inputs),
            "file": metadata.path(work.folder.predictions / PREDICTIONS_FILE),
            "checks": metadata.page(work.folder.check_page, work.settings),
        },
    )


def _virus_calls(work: DropWork) -> dg.MaterializeResult[None]:
    tables = call_drop(work)
    return _result(
        "virus_calls",
        tables.digest,
        {
            "dagster/row_count": tables.counts["reads"],
            **metadata.columns_of_table("virus_calls", READ_SCHEMA),
            "hits": tables.counts["hits"],
            "expected_false_calls": read_stages(work.folder.stages)["calls"].figures[EXPECTED_FALSE],
            "viral_share": tables.counts["viral_reads"] / max(1, tables.counts["reads"]),
            "calls": metadata.counts_table(
                {name: n for name, n in tables.counts.items() if ", " in name}, "call"
            ),
            "reads_by_route": metadata.counts_table(reads_by_route(tables.counts), "route"),
            **metadata.picture_of_calls(tables),
            "made_from": dg.MetadataValue.json(tables.inputs),
            "table": metadata.path(work.folder.calls / READ_CALLS_FILE),
            "hits_file": metadata.path(work.folder.calls / HITS_FILE),
        },
    )


def _drop_report(work: DropWork) -> dg.MaterializeResult[None]:
    # The plotting library stays out of the import path of the definitions.
    from virnucpro_assets.pipeline.report import report_drop  # noqa: PLC0415
    from virnucpro_assets.reports import plots  # noqa: PLC0415

    report = report_drop(work)
    found: metadata.Metadata = {
        "report": metadata.page(work.folder.report, work.settings),
        "check_report": metadata.page(work.folder.check_page, work.settings),
        "reads": report.reads,
        "hits": report.hits,
        "reads_not_scored": report.reasons.get("not_scored", 0),
        "checks": len(report.checks),
        "failed_checks": report.failed_checks,
    }
    if report.scores and report.scores.total:
        found["scores"] = metadata.picture(plots.score_histogram(report.scores))
        found["calls"] = metadata.picture(plots.calls_by_tier(report.calls))
    if report.q_values and report.q_values.total:
        found["hits_by_fdr"] = metadata.picture(plots.hits_by_fdr(report.q_values))
    if report.evaluation:
        found["auroc"] = report.evaluation.auroc
    return _result("drop_report", sha256_of_file(work.folder.report), found)


def _check_report(work: DropWork, report: CheckReport) -> dg.MaterializeResult[None]:
    """The version of a report is what it says, whenever it was made."""
    content = report.model_copy(update={"made_at": ""}).model_dump_json()
    failed = [f"{check.name} of {check.asset}" for check in report.checks if check.state == "failed"]
    return _result(
        "check_report",
        sha256(content.encode()).hexdigest(),
        {
            "verdict": report.verdict,
            "passed": report.counts["passed"],
            "failed": report.counts["failed"],
            "not_run": report.counts["not run"],
            "failed_checks": ", ".join(dict.fromkeys(failed)) or "none",
            "page": metadata.page(work.folder.check_page, work.settings),
            "json": metadata.path(work.folder.check_data),
        },
    )


def record_check_report(instance: dg.DagsterInstance, work: DropWork, report: CheckReport) -> None:
    """Record a check report that was made outside of a run, if its content differs from the last one."""
    drop = work.drop.key
    if not instance.has_dynamic_partition(DROPS, drop):
        return
    made = _check_report(work, report)
    digest = made.data_version.value if made.data_version else ""
    if digest != recorded_version(latest_record(instance, "check_report", [drop])):
        tags = input_tags(instance, "predictions", [drop])
        shown = dict(made.metadata or {})
        instance.report_runless_asset_event(
            materialisation("check_report", drop, digest=digest, shown=shown, tags=tags)
        )
