"""What a person does in a browser with a drop that the command line made: run its checks, find its report.

With PICTURES, a folder, in the environment, the pictures are kept there.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets_tests.sites.browser import Browser, open_browser
from virnucpro_assets_tests.web_server import running_web_server

pytestmark = [pytest.mark.site, pytest.mark.timeout(420)]

REPORTS = "https://virnucpro.example.org/reports"


@pytest.fixture(scope="module")
def made(new_deployment: Callable[[], Any]) -> Any:
    """A deployment with one drop, materialised by the command line, whose pages have an address."""
    deployment = new_deployment()
    deployment.deliver("d1", 4, partition=False)
    deployment.command("env", f"VIRNUCPRO_REPORTS_URL={REPORTS}", "virnucpro", "materialize", "d1")
    return deployment


@pytest.fixture(scope="module")
def browser(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pictures = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures")).absolute()
    with (
        running_web_server(made, VIRNUCPRO_AUTOMATION="false") as server,
        open_browser(server.url.removesuffix("/graphql"), pictures) as opened,
    ):
        yield opened


def test_the_runs_of_a_command_are_listed_by_their_drop(browser: Browser) -> None:
    browser.open("/runs?q[0]=tag%3Avirnucpro%2Fdrop%3Dd1", "embed_drop", "Success")
    browser.picture("runs-of-a-drop")
    assert browser.page.get_by_text("Success", exact=True).count() == 3


def test_the_report_of_a_drop_is_a_link_that_a_browser_can_open(made: Any, browser: Browser) -> None:
    folder = DropStore(made.root / "data").current("d1")[1].path
    browser.open("/assets/drop_report?view=partitions&partition=d1", "Materialized (1)", "report.html")
    browser.picture("report-link")
    links = browser.page.locator(f'a[href="{REPORTS}/d1/{folder.name}/report.html"]')
    assert links.count() >= 1


def test_execute_all_on_the_checks_of_predictions_succeeds(browser: Browser) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415

    browser.open("/assets/predictions?view=checks", "Checks (3)")
    browser.page.get_by_role("button", name="Execute all").click()
    expect(browser.page.get_by_text("Running").first).to_be_visible(timeout=60_000)
    expect(browser.page.get_by_text("Running")).to_have_count(0, timeout=150_000)
    # Between the end of the run and the page's next look at it a check without a result shows as skipped.
    expect(browser.page.get_by_text("Skipped")).to_have_count(0, timeout=60_000)
    browser.picture("executed-checks")
    assert browser.page.get_by_text("Succeeded").count() >= 3
    assert browser.page.get_by_text("Failed").count() == 0


def test_materialize_all_asks_for_no_training(browser: Browser) -> None:
    browser.open("/assets/trained_classifier", "External")
    browser.picture("external-asset")
    assert browser.page.get_by_role("button", name="Materialize").is_disabled()
