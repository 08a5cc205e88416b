"""The report of a drop as lines for the terminal, and as fields for programs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from virnucpro_assets.checks.results import check_title, remedy, sentence
from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.reports.drop_report import DropReport
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.reports.pages import REASON_IN_WORDS
from virnucpro_assets.reports.summary import summary_row
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import removed_of
from virnucpro_assets.storage.hits import HITS_FILE
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE
from virnucpro_assets.storage.quarantine import QUARANTINE_TABLE


def summary_fields(key: str, settings: Settings) -> dict[str, Any]:
    """The same as `summary_lines` for programs: the fields of a row of `virnucpro summary`, and some more."""
    work, report = _finished(key, settings)
    return summary_row(report).model_dump() | {
        "calls": report.calls,
        "reads_without_call": {reason: count for reason, count in report.reasons.items() if count},
        "checks_not_passed": [
            check_title(check.name, check.asset, check.rank) for check in report.checks if not check.passed
        ],
        "warning": _warning(work),
        "report": str(work.folder.report.absolute()),
    }


def summary_lines(key: str, settings: Settings, copies: Sequence[Path] = ()) -> Iterator[str]:
    """What the terminal says of a drop whose report is made; of a file that has been copied it names the copy."""
    work, report = _finished(key, settings)
    path_of = {path.name: path for path in (work.folder.calls / HITS_FILE, work.folder.report, *copies)}
    removed, warning = removed_of(work.folder), _warning(work)
    yield f"drop {report.drop}, generation {report.generation}"
    candidates = counted(report.candidates - report.whole_chunks, "stop-free frame")
    if report.reads_without_open_frame:
        without = counted(report.reads_without_open_frame, "read")
        candidates += f" and {counted(report.whole_chunks, 'whole chunk')} of {without} without any"
    yield f"{counted(report.reads, 'read')}, {candidates}, {report.unique_candidates:,} distinct"
    yield from _lines_of_calls(report)
    if report.quarantined:
        table = work.folder.quarantine / QUARANTINE_TABLE
        yield f"{counted(report.quarantined, 'sequence')} could not be embedded: {table}"
    yield f"{counted(report.hits, 'hit')} in {path_of[HITS_FILE]}"
    if report.pairs:
        yield f"{counted(report.pairs, 'pair')} in {path_of.get(PAIR_CALLS_FILE, work.folder.calls / PAIR_CALLS_FILE)}"
    if report.evaluation:
        found = report.evaluation
        yield (
            f"AUROC {found.auroc:.3f} (95 % interval {found.low:.3f} to {found.high:.3f}; {found.detail}); "
            f"{found.baseline_name} alone {found.baseline:.3f}"
        )
    yield from _lines_of_checks(report)
    for remark in report.remarks:
        yield f"note: {remark}"
    for note in () if warning else dict.fromkeys(model.note for model in report.models if model.note):
        yield f"note: {note}"
    if removed:
        yield f"note: {removed.line}; `virnucpro materialize {key}` computes them again"
    if not report.reads:
        yield "warning: the files have no reads"
    if warning:
        yield f"warning: {warning}"
    yield f"report: {path_of[work.folder.report.name].absolute()}"


def _finished(key: str, settings: Settings) -> tuple[DropWork, DropReport]:
    """A drop whose report is made, and its figures; InputError for any other."""
    work = DropWork.on(key, settings)
    removed = removed_of(work.folder)
    if not work.folder.report.exists():
        raise InputError(
            f"drop {key}",
            found=removed.line if removed else "no report yet",
            expected="a finished drop",
            advice=f"Run `virnucpro materialize {key}`.",
        )
    return work, gather_report(work)


def _warning(work: DropWork) -> str:
    """Which of the models in use are the demo's; empty if none is."""
    return demo_line(work.settings.model_folders(work.drop.source.chunk_length))


def _lines_of_calls(report: DropReport) -> Iterator[str]:
    for reason, count in report.reasons.items():
        if count:
            yield f"{counted(count, 'read')} without a call: {REASON_IN_WORDS.get(reason, reason)}"
    for call, tiers in report.calls.items():
        counts = ", ".join(f"{count:,} {tier.replace('_', ' ')}" for tier, count in tiers.items() if count)
        yield f"{call}: {sum(tiers.values()):,}" + (f" ({counts})" if counts else "")
    if report.routes:
        yield "scored by " + ", ".join(f"{name}: {counted(n, 'read')}" for name, n in report.routes.items())


def _lines_of_checks(report: DropReport) -> Iterator[str]:
    failed = [check for check in report.checks if not check.passed]
    unjudged = f"; {report.unjudged_checks} not judged, for too little data" if report.unjudged_checks else ""
    yield (
        f"{report.passed_checks} of {counted(len(report.checks), 'check')} passed{unjudged}"
        if report.checks
        else f"no check has looked at these results; run `virnucpro materialize {report.drop}`"
    )
    for check in failed:
        found = sentence(check.name, check.figures, check.threshold)
        title = check_title(check.name, check.asset, check.rank)
        yield f"check {title}: {found}; then: {remedy(check.name, report.drop)}"
