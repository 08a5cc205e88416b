"""The asset that people look at: the report of a drop."""

import dagster as dg

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.recipe import ENGINE_FORMAT


def drop_report(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset `drop_report`."""

    @dg.asset(
        partitions_def=partitions.drops,
        deps=["virus_calls"],
        group_name="calls",
        kinds={"html"},
        code_version=str(ENGINE_FORMAT),
        description="One page for people: counts, calls, lengths, speed and checks of a drop.",
    )
    def drop_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        # The plotting library stays out of the import path of the definitions.
        from virnucpro_assets.pipeline.reports import report_drop  # noqa: PLC0415
        from virnucpro_assets.report import plots  # noqa: PLC0415

        with mendable():
            work = DropWork.on(context.partition_key, settings, context.log.info)
            report = report_drop(work)
        found: metadata.Metadata = {
            "report": metadata.path(work.folder.report),
            "reads": report.reads,
            "hits": report.hits,
            "reads_not_scored": report.reasons.get("not_scored", 0),
            "checks": len(report.checks),
            "failed_checks": report.failed_checks,
        }
        if report.scores and report.scores.total:
            found["scores"] = metadata.picture(plots.score_histogram(report.scores))
            found["calls"] = metadata.picture(plots.calls_by_tier(report.calls))
        if report.evaluation:
            found["auroc"] = report.evaluation.auroc
        return dg.MaterializeResult(metadata=found)

    return drop_report
