"""Making the check report of a drop: the recorded result of every check, as a page and as JSON.

It can be made at any time, also for a drop whose processing failed: checks that did not run are listed as such. A
result is valid only for the content that was checked; if that was made again from something else, the check counts as
not run.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from virnucpro_assets import __version__
from virnucpro_assets.checks.results import CheckResult, check_title, figure, outcome, remedy, sentence
from virnucpro_assets.checks.rules import CheckRule, check_rules
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.reports.check_report import CheckEntry, CheckReport, checks_as_json, render_checks
from virnucpro_assets.reports.pages import table
from virnucpro_assets.sequences.index_manifest import INDEX_MANIFEST, IndexManifest
from virnucpro_assets.storage.merged import MERGED_MANIFEST, MergedManifest
from virnucpro_assets.storage.shards import finished_shard
from virnucpro_assets.storage.tables import TABLES_MANIFEST, TablesManifest
from virnucpro_assets.vocabulary import ENCODER_KINDS

Checked = tuple[str, int | None]
"""An asset, and the rank if it has ranks."""


def write_check_report(work: DropWork) -> CheckReport:
    """Gather the checks of a drop, and write them as a page and as JSON; returns them."""
    with stage_lock(work, "check_report"):
        report = gather_checks(work)
        write_text(work.folder.check_data, checks_as_json(report))
        write_text(work.folder.check_page, render_checks(report))
    return report


def gather_checks(work: DropWork) -> CheckReport:
    """Every check of the current generation of a drop, with its recorded result."""
    notes: list[str] = []
    index = _index(work, notes)
    ranks = range(index.ranks if index else work.settings.ranks)
    subjects = _subjects(work, index, ranks, notes)
    results = _results(work, notes)
    return CheckReport(
        drop=work.drop.key,
        generation=work.drop.generation,
        made_by=f"virnucpro-assets {__version__}",
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=notes,
        checks=[
            _entry(
                rule, rank, results.get((rule.asset, rule.name, rank)), subjects.get((rule.asset, rank), "")
            )
            for rule in check_rules(work.settings)
            for rank in (ranks if rule.by_rank else (None,))
        ],
    )


def check_lines(report: CheckReport) -> Iterator[str]:
    """The report as lines of a table for a terminal."""
    rows = []
    for check in report.checks:
        rank = "" if check.rank is None else str(check.rank)
        rows.append((_outcome(check), check.name, check.asset, rank, _found(check)))
    yield f"drop {report.drop}, generation {report.generation}"
    yield from table(("outcome", "check", "of", "rank", "found"), rows)
    for check in report.checks:
        if check.state == "failed":
            found = sentence(check.name, check.figures, check.threshold)
            title = check_title(check.name, check.asset, check.rank)
            yield f"{title}: {found}; then: {remedy(check.name, report.drop)}. {check.reason}"
    for note in report.notes:
        yield f"note: {note}"
    counts = report.counts
    yield f"{counts['passed']} passed, {counts['failed']} failed, {counts['not run']} not run"


def _entry(rule: CheckRule, rank: int | None, result: CheckResult | None, subject: str) -> CheckEntry:
    entry = CheckEntry(
        asset=rule.asset,
        name=rule.name,
        rank=rank,
        state="not run",
        blocking=rule.blocking,
        threshold=rule.threshold,
        reason=rule.reason,
        settings=rule.settings,
    )
    if result is None:
        return entry
    if result.subject != subject:
        return entry.model_copy(
            update={"note": "the recorded result is of an earlier version of the content"}
        )
    return entry.model_copy(
        update={
            "state": "passed" if result.passed else "failed",
            "blocking": result.blocking,
            "threshold": result.threshold,
            "figures": result.figures,
        }
    )


def _outcome(check: CheckEntry) -> str:
    if check.state == "failed":
        return "FAILED" if check.blocking else "WARNING"
    return outcome(passed=True, threshold=check.threshold) if check.state == "passed" else check.state


def _found(check: CheckEntry) -> str:
    figures = ", ".join(f"{name.replace('_', ' ')} {figure(value)}" for name, value in check.figures.items())
    return figures or check.note


def _results(work: DropWork, notes: list[str]) -> dict[tuple[str, str, int | None], CheckResult]:
    results = {}
    for path in sorted(work.folder.checks.glob("*.toml")):
        try:
            result = read_manifest(path, CheckResult)
        except IntegrityError as error:
            notes.append(str(error))
        else:
            results[result.asset, result.name, result.rank] = result
    return results


def _index(work: DropWork, notes: list[str]) -> IndexManifest | None:
    path = work.folder.index / INDEX_MANIFEST
    try:
        return read_manifest(path, IndexManifest) if path.exists() else None
    except IntegrityError as error:
        notes.append(str(error))
        return None


def _subjects(
    work: DropWork, index: IndexManifest | None, ranks: range, notes: list[str]
) -> dict[Checked, str]:
    """The digest of the present content of each asset; unfinished ones are missing."""
    found: dict[Checked, str] = {}
    if index:
        found["sequence_index", None] = index.digest
    for kind in ENCODER_KINDS:
        for rank in ranks:
            try:
                shard = finished_shard(work.folder.shard(kind, rank, len(ranks)))
            except IntegrityError as error:
                notes.append(str(error))
                continue
            if shard:
                found[f"{kind}_embeddings", rank] = shard.recipe.digest
    for asset, digest in (("merged_embeddings", _merged_digest), ("predictions", _predictions_digest)):
        try:
            found[asset, None] = digest(work)
        except IntegrityError as error:
            notes.append(str(error))
    return found


def _merged_digest(work: DropWork) -> str:
    path = work.folder.path / MERGED_MANIFEST
    return read_manifest(path, MergedManifest).digest if path.exists() else ""


def _predictions_digest(work: DropWork) -> str:
    path = work.folder.predictions / TABLES_MANIFEST
    return read_manifest(path, TablesManifest).digest if path.exists() else ""
