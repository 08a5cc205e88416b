"""The pages in a browser, on a desk and on a telephone: nothing is cut off, and only wide tables scroll sideways."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.reports.check_report import CheckEntry, CheckReport, render_checks
from virnucpro_assets.reports.classifier_report import ComparedFigures, render_classifier_report
from virnucpro_assets.reports.drop_report import (
    CallRow,
    ErrorRateFigures,
    Evaluation,
    InputFigures,
    LowComplexity,
    ModelFigures,
    QuarantinedFigures,
    RankFigures,
    render_report,
)
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.reports.tracks import Track
from virnucpro_assets_tests.reports.test_classifier_report import report as classifier_report
from virnucpro_assets_tests.reports.test_drop_report import report_of_a_drop
from virnucpro_assets_tests.sites.browser import Browser, open_browser

pytestmark = pytest.mark.site

WIDE, NARROW = 1440, 390
WIDE_TABLES = {
    "Embeddings by encoder and rank",
    "Strongest Viral reads or contigs",
    "By read length",
    "Training",
    "Quarantine",
}
"""Tables of many numbers, which on a telephone scroll within their frame; what a check found never does."""
OUTSIDE = """scrolling => [...document.querySelectorAll("body *")].filter(one => {
    const frame = one.closest(".scroll"), box = one.getBoundingClientRect();
    if (frame && frame !== one && scrolling.includes(frame.getAttribute("aria-label"))) return false;
    const isOutside = box.right > document.documentElement.clientWidth + 1 || box.left < -1;
    return isOutside && !one.parentElement.closest("svg");
}).map(one => one.tagName + " " + one.textContent.trim().slice(0, 60))"""
SCROLLING = """() => [...document.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => one.getAttribute("aria-label"))"""
BROKEN_TIERS = """() => [...document.querySelectorAll("td.short")].filter(cell => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return text.getClientRects().length !== 1;
}).map(cell => cell.textContent)"""
THRESHOLD = "minimum cosine at least 0.99, labels of candidates and chunks at least 0.98 equal"
LONG = "A01234:567:HXXXXXXXX:1:1101:10000:2000"
DROP = "a-drop-of-a-long-name_lane1_" + "x" * 36


def drop_report() -> str:
    """Every part of the page, with long names and large numbers."""
    checks = [
        CheckResult(
            asset="predictions", name="precision_in_use_matches_float32", passed=passed, threshold=THRESHOLD,
            figures={"rows": 128, "min_cosine": 0.999912, "candidate_label_agreement": 1.0},
        )
        for passed in (True, False)
    ]  # fmt: skip
    ranks = [
        RankFigures(
            encoder="dnabert_s", rank=rank, rows=123_456, tokens=98_765_432, tokens_per_second=1_234_567.0,
            packing_efficiency=0.987, device="cuda:0, cuda:1", sequences_per_second=12_345.0, mfu=0.5,
            waited_for_input=12.0, waited_for_output=3.0, memory_mib=123_456, cached_rows=1234,
        )
        for rank in range(4)
    ]  # fmt: skip
    top = CallRow(
        name=LONG, length=18_233, chunks=61, call="Viral", tier="moderate_confidence", weighted_delta=0.99,
        score=0.9999,
    )  # fmt: skip
    track = Track(
        name=LONG, length=1200, positions=[150, 450, 1050], deltas=[-0.5, 0.9, 0.8], smoothed=[0.2, 0.4, 0.85],
        regions=[(300, 600), (900, 1200)],
    )  # fmt: skip
    rates = [ErrorRateFigures(wanted=0.01, reads=1_234_567, expected=0.0098, true=0.0123)]
    evaluation = Evaluation(
        auroc=0.871,
        low=0.852,
        high=0.889,
        baseline=0.742,
        baseline_name="counting letters",
        error_rates=rates,
    )
    row = QuarantinedFigures(
        name=f"{LONG}_chunk_1F1", members=1, row=123_456, encoder="dnabert_s", reason="too large"
    )
    everything = {
        "drop": DROP,
        "ranks": ranks,
        "checks": checks,
        "top_calls": [top],
        "tracks": [track],
        "evaluation": evaluation,
        "q_values": Histogram(edges=[0, 0.5, 1], counts=[15, 5]),
        "quarantined": 2,
        "quarantine": [row],
        "not_scored_candidates": 2,
        "low_complexity": LowComplexity(above=20, low_chunks=1200, chunks=6600, viral_reads=1),
        "uncalibrated": ["classifier_300"],
        "remarks": [f"reads renamed because an earlier read has their name: 1 of 4,000, {LONG}{LONG}"],
        "models": [
            ModelFigures(role="esm2", name="esm2_t36_3B_UR50D", digest="ef56" * 16, note="A demo model.")
        ],
        "inputs": [InputFigures(name=f"{LONG}_{LONG}_R1.fastq.gz", size=1234, digest="ab" * 32)],
        "settings": {"bases below which a read is scored by its DNA": 150},
    }
    return render_report(report_of_a_drop().model_copy(update=everything))


def check_page() -> str:
    entries = [
        CheckEntry(
            asset="predictions", name="precision_in_use_matches_float32", rank=rank, state=state, blocking=True,
            threshold=THRESHOLD, reason="r", settings=["min_cosine"], note=f"see {LONG}/{LONG}",
            figures={"min_cosine": 0.999912, "rows": 128},
        )
        for rank, state in enumerate(("passed", "failed", "not run"))
    ]  # fmt: skip
    return render_checks(
        CheckReport(
            drop=DROP, generation="0" * 64, made_by="t", made_at="", notes=[f"{LONG}/{LONG}"], checks=entries
        )
    )


def classifier_page() -> str:
    in_use = ComparedFigures(name="feedfeedfeed", digest="f" * 64, auroc=0.9123, f1=0.8, roc=[(0, 0), (1, 1)])
    return render_classifier_report(
        classifier_report(
            in_use=in_use, accepted=False, drops=[DROP, DROP], notes=[f"{LONG}/{LONG}"], made_by=LONG
        )
    )


PAGES = {"drop": drop_report, "checks": check_page, "classifier": classifier_page}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser("", tmp_path_factory.mktemp("pictures")) as opened:
        yield opened


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    page: Any = browser.page
    (tmp_path / "page.html").write_text(PAGES[name](), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    scrolling = page.evaluate(SCROLLING)
    assert set(scrolling) <= (WIDE_TABLES if width == NARROW else set())
    assert page.evaluate(OUTSIDE, scrolling) == []
    assert page.evaluate(BROKEN_TIERS) == []
