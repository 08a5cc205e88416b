"""The check report of a drop: all its checks, those that did not run too, as a page and as JSON."""

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
    """One check of an asset, of one rank where there are ranks, and what came of it.

    `threshold` is the one that decided, or for a check that did not run the one that will.
    `settings` are the names of the settings that hold it.
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
    """All checks of one generation of a drop, at one moment.

    Its JSON keeps its meaning: fields are only added, and `format` grows if one ever changes.
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
        """`failed` if a check that holds back the results did not pass, `warning` if only others did not.

        Else `incomplete` if some did not run, and `passed` if all ran and passed.
        """
        if self.held_back:
            return "failed"
        if any(check.state == "failed" for check in self.checks):
            return "warning"
        return "incomplete" if any(check.state == "not run" for check in self.checks) else "passed"

    @property
    def held_back(self) -> list[CheckEntry]:
        """The failed checks that hold back the results."""
        return [check for check in self.checks if check.state == "failed" and check.blocking]

    def by_check(self) -> list[list[CheckEntry]]:
        """The entries of each check together, in their order: one, or one a rank."""
        groups: dict[tuple[str, str], list[CheckEntry]] = {}
        for check in self.checks:
            groups.setdefault((check.asset, check.name), []).append(check)
        return list(groups.values())


def render_checks(report: CheckReport) -> str:
    """The report as one self-contained HTML page; the same report gives the same page."""
    return render_page(TEMPLATE, report=report)


def checks_as_json(report: CheckReport) -> str:
    """The report as JSON: its fields, its verdict and its counts."""
    content = {**report.model_dump(mode="json"), "verdict": report.verdict, "counts": report.counts}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
