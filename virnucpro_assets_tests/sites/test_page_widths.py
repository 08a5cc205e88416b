"""The pages in a browser, on a desk and on a telephone: nothing is cut off, and only wide tables scroll sideways."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.reports.check_report import CheckEntry, CheckReport, render_checks
from virnucpro_assets.reports.classifier_report import render_classifier_report
from virnucpro_assets.reports.drop_report import (
    CallRow,
    DropReport,
    InputFigures,
    ModelFigures,
    RankFigures,
    render_report,
)
from virnucpro_assets_tests.reports.test_classifier_report import report as classifier_report
from virnucpro_assets_tests.sites.browser import Browser, open_browser

pytestmark = pytest.mark.site

WIDE, NARROW = 1440, 390
CUT = """() => [...document.querySelectorAll("table, caption, p, h1, h2, .tiles li")]
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(one => one.tagName + " " + one.innerText.slice(0, 60))"""
THRESHOLD = "minimum cosine at least 0.99, labels of candidates and chunks at least 0.98 equal"


def drop_report() -> str:
    checks = [
        CheckResult(
            asset="predictions", name="precision_in_use_matches_float32", passed=True, threshold=THRESHOLD,
            figures={"rows": 128, "min_cosine": 0.999912, "candidate_label_agreement": 1.0},
        )
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
        name="A01234:567:HXXXXXXXX:1:1101:10000:2000", length=18_233, chunks=61, call="Viral",
        tier="moderate_confidence", weighted_delta=0.99, score=0.9999,
    )  # fmt: skip
    return render_report(
        DropReport(
            drop="a-drop-of-a-long-name_lane1", generation="9f8e7d6c5b4a" + "0" * 52, made_by="virnucpro-assets 1.2.3",
            reads=4000, bases=58_700_112, chunks=6600, virus_chunks=612, candidates=10_000, unique_candidates=7500,
            calls={"Viral": {"moderate_confidence": 12}}, hits=17, ranks=ranks, checks=checks, top_calls=[top],
            models=[ModelFigures(role="esm2", name="esm2_t36_3B_UR50D", digest="ef56" * 16)],
            inputs=[InputFigures(name="a_R1.fastq.gz", size=1234, digest="ab" * 32)],
            settings={"bases below which a read is scored by its DNA": 150},
        )
    )  # fmt: skip


def check_page() -> str:
    entry = CheckEntry(
        asset="predictions", name="precision_in_use_matches_float32", rank=None, state="passed", blocking=True,
        threshold=THRESHOLD, reason="r", settings=["min_cosine"], figures={"min_cosine": 0.999912, "rows": 128},
    )  # fmt: skip
    return render_checks(
        CheckReport(drop="d", generation="0" * 64, made_by="t", made_at="", notes=[], checks=[entry])
    )


PAGES = {
    "drop": drop_report,
    "checks": check_page,
    "classifier": lambda: render_classifier_report(classifier_report()),
}


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
    inside = (
        "() => [...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    )
    scrolled = page.evaluate(f"({inside})().map(one => one.getAttribute('aria-label'))")
    # On a telephone the tables of many numbers scroll within their frame; what a check found never does.
    wide_tables = {
        "Embeddings by encoder and rank",
        "Strongest Viral reads or contigs",
        "By read length",
        "Training",
    }
    assert set(scrolled) <= (wide_tables if width == NARROW else set())
    if width == WIDE:
        assert page.evaluate(CUT) == []
    tiers = page.evaluate(
        "() => [...document.querySelectorAll('td.short')].map(one => one.getClientRects().length)"
    )
    assert all(lines == 1 for lines in tiers)
