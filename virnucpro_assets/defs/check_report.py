"""The asset of all checks of a drop, made also of a drop whose results are held back."""

from collections.abc import Mapping
from hashlib import sha256

import dagster as dg

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.automation import once
from virnucpro_assets.defs.chains import Link, Made, Turn
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.defs.records import input_tags, latest_record, materialisation
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.reports.check_pages import write_check_report
from virnucpro_assets.reports.check_report import CheckReport
from virnucpro_assets.storage.recipe import ENGINE_FORMAT

ASSET, INPUT = "check_report", "predictions"
VERSION = "dagster/data_version"


def check_report() -> Link:
    """The asset `check_report`."""

    def make(turn: Turn) -> Made:
        work = turn.work
        return _made(work, write_check_report(work))

    return Link(
        dg.AssetSpec(
            ASSET,
            deps=[INPUT],
            group_name="calls",
            kinds={"html", "json"},
            code_version=str(ENGINE_FORMAT),
            automation_condition=once(),
            description="Every check of a drop on one page: what was found, what is expected, and why.",
        ),
        make,
        always=True,
    )


def record_fresh_report(instance: dg.DagsterInstance, work: DropWork, report: CheckReport) -> None:
    """Put a check report that was made outside of a run on record, if it says other than the last one."""
    drop = work.drop.key
    if not instance.has_dynamic_partition(DROPS, drop):
        return
    made, latest = _made(work, report), latest_record(instance, ASSET, [drop])
    found = latest.asset_materialization if latest else None
    tags: Mapping[str, str] = (found.tags or {}) if found else {}
    if tags.get(VERSION) != made.digest:
        instance.report_runless_asset_event(
            materialisation(
                ASSET,
                drop,
                digest=made.digest,
                inputs=input_tags(instance, INPUT, [drop]),
                shown=made.metadata,
            )
        )


def _made(work: DropWork, report: CheckReport) -> Made:
    """The version of a report is what it says, whenever it was made."""
    said = report.model_copy(update={"made_at": ""}).model_dump_json()
    failed = [f"{check.name} of {check.asset}" for check in report.checks if check.state == "failed"]
    return Made(
        sha256(said.encode()).hexdigest(),
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
