"""The last stage of a drop: its report, gathered from what the stages left."""

from virnucpro_assets.checks.gate import require_passed, subjects_of_calls
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.reports.drop_report import DropReport, render_report
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.storage.tables import TABLES_MANIFEST, TablesManifest


def report_drop(work: DropWork) -> DropReport:
    """Gather the figures of a drop and write its page, and those of the ranks as JSON lines; returns the figures.

    Raises CheckError if a check of what the calls were made from holds them back.
    """
    with stage_lock(work, "report"):
        require_passed(
            work, subjects_of_calls(read_manifest(work.folder.calls / TABLES_MANIFEST, TablesManifest))
        )
        report = gather_report(work)
        write_text(work.folder.report, render_report(report))
        lines = (rank.model_dump_json() + "\n" for rank in report.ranks)
        write_text(work.folder.telemetry, "".join(lines))
    return report
