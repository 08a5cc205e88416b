"""The asset that people look at: the report of a drop."""

import dagster as dg

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.automation import once
from virnucpro_assets.defs.chains import Link, Made, Turn
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.storage.recipe import ENGINE_FORMAT


def drop_report() -> Link:
    """The asset `drop_report`."""

    def make(turn: Turn) -> Made:
        # The plotting library stays out of the import path of the definitions.
        from virnucpro_assets.pipeline.report import report_drop  # noqa: PLC0415
        from virnucpro_assets.reports import plots  # noqa: PLC0415

        work = turn.work
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
        if report.evaluation:
            found["auroc"] = report.evaluation.auroc
        return Made(sha256_of_file(work.folder.report), found)

    return Link(
        dg.AssetSpec(
            "drop_report",
            deps=["virus_calls"],
            group_name="calls",
            kinds={"html"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description="One page for people: counts, calls, lengths, speed and checks of a drop.",
        ),
        make,
    )
