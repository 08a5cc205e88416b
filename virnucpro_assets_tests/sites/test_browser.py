"""Two drops copied in at a running `dagster dev`, and what a person sees of them in a browser.

With PICTURES, a folder, in the environment, the pictures of the documentation are taken there.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.defs.partitions import EMBEDDINGS
from virnucpro_assets_tests.sites.browser import SIZE, Browser, open_browser
from virnucpro_assets_tests.waiting import wait_until
from virnucpro_assets_tests.web_server import running_web_server

pytestmark = [pytest.mark.site, pytest.mark.timeout(900)]

DROPS = {"run-0412-lane1": 0, "wetland-soil": 200}
READS = 200
ARRIVING = {
    "VIRNUCPRO_AUTOMATION": "true",
    "VIRNUCPRO_SCAN_INTERVAL_SECONDS": "5",
    "VIRNUCPRO_SETTLE_SECONDS": "3",
    "VIRNUCPRO_CHECK_SAMPLE": "32",
}
COUNTS = "{ assetNodes { assetKey { path } partitionStats { numMaterialized numFailed } } }"
TICKS = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { ticks(limit: 1) { status } } } }
}"""
AUTOMATION = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "virnucpro_assets",
    "sensorName": "next_runs",
}


@pytest.fixture(scope="module")
def browser(new_deployment: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on a web server whose daemon has found, made and reported both drops by itself."""
    deployment = new_deployment()
    pictures = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures")).absolute()
    with running_web_server(deployment, **ARRIVING) as server:

        def has_ticked() -> bool:
            return bool(server.ask(TICKS, sensor=AUTOMATION)["sensorState"]["ticks"])

        def is_done() -> bool:
            counts = {node["assetKey"]["path"][0]: node["partitionStats"] for node in server.ask(COUNTS)}
            assert not any(count["numFailed"] for count in counts.values() if count), counts
            return counts["check_report"]["numMaterialized"] == len(DROPS)

        wait_until(has_ticked, 120)
        for drop, first in DROPS.items():
            deployment.deliver(drop, READS, first=first, partition=False)
        wait_until(is_done, 500)
        with open_browser(server.url.removesuffix("/graphql"), pictures) as opened:
            yield opened


def test_the_lineage_shows_every_asset_of_both_drops_as_made(browser: Browser) -> None:
    # A graph that is drawn small shows names only.
    browser.page.set_viewport_size({"width": 2600, "height": 1500})
    browser.open(
        "/assets/predictions?view=lineage&lineageScope=neighbors&lineageDepth=5",
        "sequence_drop",
        "merged_embeddings",
        "drop_report",
        "check_report",
        "8 partitions",
    )
    browser.counts("100% filled", 9)
    browser.picture("assets")
    assert browser.page.get_by_text("8 partitions").count() == len(EMBEDDINGS)
    browser.page.set_viewport_size(SIZE)


@pytest.mark.parametrize("asset", EMBEDDINGS)
def test_the_page_of_partitions_shows_each_rank_of_both_drops(browser: Browser, asset: str) -> None:
    browser.open(
        f"/assets/{asset}?view=partitions&partition=wetland-soil%7C2",
        "wetland-soil|2",
        "Materialized (8)",
        "Failed (0)",
        "Missing (0)",
        "tokens_per_second",
        *DROPS,
    )
    browser.picture("ranks" if asset == "esm2_embeddings" else f"ranks-{asset}")
    found = [
        browser.page.get_by_text(text).count() for text in ("Materialized (8)", "Failed (0)", "Missing (0)")
    ]
    assert found == [1, 1, 1]


def test_the_page_of_checks_shows_what_was_found_and_what_decided(browser: Browser) -> None:
    browser.open(
        "/assets/predictions?view=checks",
        "Checks (3)",
        "Passed",
        "min_cosine",
        "cosine at least 0.999, equal labels at least 0.98",
    )
    browser.picture("checks")
    assert browser.page.get_by_text("Succeeded").count() == 3


def test_the_page_of_an_asset_says_what_it_is_whose_and_what_its_columns_mean(browser: Browser) -> None:
    browser.open(
        "/assets/virus_calls",
        "The call of every chunk and of every read or contig",
        "virnucpro",
        "Viral, Non-viral or Ambiguous",
        "viral_share",
    )
    browser.picture("asset")
    assert browser.page.get_by_text("Viral, Non-viral or Ambiguous").count() == 1


def test_figures_are_plotted_over_the_drops(browser: Browser) -> None:
    browser.open("/assets/predictions", "virus_share")
    browser.page.get_by_role("button", name="Plots").or_(browser.page.get_by_text("Plots")).first.click()
    browser.page.get_by_text("When graphing values by partition").scroll_into_view_if_needed()
    browser.picture("plots")
    assert browser.page.locator("canvas").count() >= 4


@pytest.mark.parametrize(
    ("asset", "name", "words"),
    [
        ("drop_report", "report", ["wetland-soil", "Calls", "13 of 21"]),
        ("check_report", "check-report", ["wetland-soil", "completeness", "packing_efficiency"]),
    ],
)
def test_the_page_that_an_asset_names_opens_and_is_whole(
    browser: Browser, asset: str, name: str, words: list[str]
) -> None:
    browser.open(
        f"/assets/{asset}?view=partitions&partition=wetland-soil",
        "Materialized (2)",
        f"{name.replace('-', '_')}.html",
    )
    (path,) = set(re.findall(rf"/[^\s<>]*/{name.replace('-', '_')}\.html", browser.page.content()))
    asked: list[str] = []
    browser.page.on("request", lambda request: asked.append(request.url))
    browser.open(f"file://{path}", *words)
    browser.picture(name)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_nothing_was_made_twice(browser: Browser) -> None:
    browser.open("/runs", "next_runs", "Success")
    browser.picture("runs")
    assert browser.page.get_by_text("Failure").count() == 0
