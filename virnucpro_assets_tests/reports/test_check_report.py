"""The page of all checks of a drop: complete, self-contained, and safe whatever stands in it."""

import json

import pytest

from virnucpro_assets.reports.check_report import CheckEntry, CheckReport, checks_as_json, render_checks
from virnucpro_assets_tests.reports.test_drop_report import HOSTILE, Page


def entry(**changes) -> CheckEntry:
    fields = {
        "asset": "esm2_embeddings",
        "name": "finite_values",
        "rank": 0,
        "state": "passed",
        "blocking": True,
        "threshold": "no NaN",
        "reason": "It means nothing.",
        "figures": {"rows": 12345, "share": 0.99895},
    }
    return CheckEntry.model_validate({**fields, **changes})


def report(*checks: CheckEntry, **changes) -> CheckReport:
    fields = {"drop": "d", "generation": "0123456789ab", "made_by": "test", "checks": checks}
    return CheckReport.model_validate({**fields, **changes})


def test_the_page_stands_alone_and_its_links_lead_somewhere():
    page = Page(render_checks(report(entry(), entry(rank=1, state="failed"), entry(name="other", rank=None))))

    assert not page.open
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.references == ["#esm2_embeddings-finite_values"]
    assert {reference[1:] for reference in page.references} <= set(page.ids)


def test_each_check_stands_once_with_a_line_for_each_rank():
    ranks = [entry(rank=rank, figures={"rows": 1000 + rank}) for rank in range(4)]

    text = " ".join(Page(render_checks(report(*ranks))).texts)

    assert text.count("It means nothing.") == 1
    assert text.count("✓ passed") == 4
    assert all(f"rows 1,00{rank}" in text for rank in range(4))


def test_a_figure_near_its_threshold_is_not_rounded_to_it():
    text = " ".join(Page(render_checks(report(entry()))).texts)

    assert "share 0.99895" in text
    assert "rows 12,345" in text


def test_a_check_that_cannot_judge_is_not_shown_as_passed():
    few = entry(name="packing_efficiency", threshold="not judged below 10 packs a part; else at least 0.9")
    text = Page(render_checks(report(few))).text
    assert "outcome found expected 0 not judged rows 12,345" in text
    assert "✓ passed" not in text


def test_what_comes_from_outside_is_escaped():
    html = render_checks(
        report(
            entry(figures={"reason": HOSTILE}, threshold=HOSTILE, reason=HOSTILE, note=HOSTILE),
            notes=[HOSTILE],
            drop=HOSTILE,
        )
    )

    assert "<script" not in html
    assert Page(html).texts.count(HOSTILE) >= 3
    assert "{{ 7 * 7 }}" in html


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([entry()], "passed"),
        ([entry(), entry(rank=1, state="not run")], "incomplete"),
        ([entry(), entry(rank=1, state="failed", blocking=False), entry(rank=2, state="not run")], "warning"),
        ([entry(state="failed"), entry(rank=1, state="failed", blocking=False)], "failed"),
    ],
)
def test_the_verdict_is_the_gravest(checks, verdict):
    found = report(*checks)

    assert found.verdict == verdict
    assert json.loads(checks_as_json(found))["verdict"] == verdict


def test_the_json_keeps_its_fields():
    content = json.loads(checks_as_json(report(entry(state="failed"))))

    assert list(content) == [
        "format",
        "drop",
        "generation",
        "made_by",
        "made_at",
        "notes",
        "checks",
        "verdict",
        "counts",
    ]
    assert list(content["checks"][0]) == [
        "asset",
        "name",
        "rank",
        "state",
        "blocking",
        "threshold",
        "reason",
        "settings",
        "figures",
        "note",
    ]
    assert content["format"] == 1
    assert content["counts"] == {"passed": 0, "failed": 1, "not run": 0}
