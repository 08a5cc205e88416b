"""The check report of a drop: all its checks, including those that did not run, as a page and as JSON."""

import json
from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.reports.pages import render_page

TEMPLATE = "check_report.html"
FORMAT = 1

State = Literal["passed", "failed", "not run"]
Verdict = Literal["passed", "warning", "failed", "incomplete"]


class CheckEntry(BaseModel):
    """One check of an asset, or of one rank of it, and its outcome.

    `threshold` is the one that decided, or will decide if the check did not run. `settings` are the names of the
    settings with that threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    name: str
    rank: int | None = None
    state: State
    blocking: bool
    threshold: str
    reason: str
    settings: list[str] = []
    figures: dict[str, int | float | str] = {}
    note: str = ""


class CheckReport(BaseModel):
    """All checks of one generation of a drop at one time.

    The meaning of the JSON is stable: fields are only added, and `format` is increased if one changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    drop: str
    generation: str
    made_by: str
    made_at: str = Field("", description="UTC, ISO 8601")
    notes: list[str] = []
    checks: list[CheckEntry]

    @property
    def counts(self) -> dict[State, int]:
        """How many checks there are in each state."""
        found = Counter(check.state for check in self.checks)
        return {"passed": found["passed"], "failed": found["failed"], "not run": found["not run"]}

    @property
    def verdict(self) -> Verdict:
        """`failed` if a blocking check failed, `warning` if only others failed.

        Otherwise `incomplete` if some did not run, and `passed` if all passed.
        """
        if self.held_back:
            return "failed"
        if any(check.state == "failed" for check in self.checks):
            return "warning"
        return "incomplete" if any(check.state == "not run" for check in self.checks) else "passed"

    @property
    def held_back(self) -> list[CheckEntry]:
        """The failed blocking checks."""
        return [check for check in self.checks if check.state == "failed" and check.blocking]

    def by_check(self) -> list[list[CheckEntry]]:
        """The entries grouped by check, in order: one, or one per rank."""
        groups: dict[tuple[str, str], list[CheckEntry]] = {}
        for check in self.checks:
            groups.setdefault((check.asset, check.name), []).append(check)
        return list(groups.values())


def render_checks(report: CheckReport) -> str:
    """The report as one self-contained HTML page; the same report gives the same page."""
    return render_page(TEMPLATE, report=report)


def checks_as_json(report: CheckReport, indent: int | None = 2) -> str:
    """The report as JSON: its fields, its verdict and its counts; with `indent` None in one line."""
    content = {**report.model_dump(mode="json"), "verdict": report.verdict, "counts": report.counts}
    return json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
