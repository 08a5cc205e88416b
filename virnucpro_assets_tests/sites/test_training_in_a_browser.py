"""Training by hand in the UI: the launchpad, the run, the page of the evaluation, and a worse classifier kept out.

With PICTURES, a folder, in the environment, the pictures of the documentation are taken there.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.settings import Settings
from virnucpro_assets_tests.labelled import embedded_drops, write_labelled_reads
from virnucpro_assets_tests.sites.browser import Browser, open_browser
from virnucpro_assets_tests.web_server import running_web_server

pytestmark = [pytest.mark.site, pytest.mark.timeout(420)]

LAUNCHPAD = "/locations/virnucpro_assets/jobs/train_classifier/playground"
GOOD = """
ops:
  train:
    config:
      virus: [virus]
      others: [others]
      learning_rate: 0.01
      batch_size: 64
      epochs: 8
"""
WORSE = GOOD.replace("0.01", "1.0e-9").replace("epochs: 8", "epochs: 1")


@pytest.fixture(scope="module")
def school(new_deployment: Callable[[], Any]) -> Any:
    """A deployment with two labelled drops, embedded, and no classifier but what it trains."""
    limit_threads(1)
    deployment = new_deployment()
    settings = deployment.settings(ranks=1, classifiers=deployment.root / "none")
    embedded_drops(write_labelled_reads(deployment.root / "files", 150), settings)
    return deployment


@pytest.fixture(scope="module")
def browser(school: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on the deployment's web server."""
    pictures = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures")).absolute()
    none = {"VIRNUCPRO_RANKS": "1", "VIRNUCPRO_CLASSIFIERS": str(school.root / "none")}
    with (
        running_web_server(school, **none) as server,
        open_browser(server.url.removesuffix("/graphql"), pictures) as opened,
    ):
        yield opened


def train(browser: Browser, config: str, outcome: str) -> None:
    """Write a config into the launchpad, launch the run, and wait until its page shows the outcome."""
    from playwright.sync_api import expect  # noqa: PLC0415

    browser.open(LAUNCHPAD, "Launch run")
    editor = browser.page.locator(".CodeMirror").first
    # All at once: typed line by line the editor would indent it once more.
    editor.evaluate("(element, text) => element.CodeMirror.setValue(text)", config)
    launch = browser.page.get_by_role("button", name="Launch run")
    expect(launch).to_be_enabled(timeout=60_000)
    browser.picture("launchpad" if outcome == "Success" else "launchpad-worse")
    launch.click()
    browser.page.wait_for_url("**/runs/*", timeout=60_000)
    expect(browser.page.get_by_text(outcome, exact=True).first).to_be_visible(timeout=150_000)


def in_use(settings: Settings) -> str:
    return settings.classifier_versions(300).in_use()


def test_a_person_trains_sees_the_evaluation_and_a_worse_one_is_kept_out(
    school: Any, browser: Browser
) -> None:
    settings = school.settings(ranks=1, classifiers=school.root / "none")
    train(browser, GOOD, "Success")
    first = in_use(settings)

    browser.open("/assets/classifier_evaluation", "evaluation.html", "in_use")
    browser.picture("training")
    (path,) = set(re.findall(r"/[^\s<>\"]*/evaluation\.html", browser.page.content()))
    assert Path(path).parent.name == first
    browser.open("/assets/classifier_evaluation?view=checks", "not_worse_than_in_use", "Succeeded")

    train(browser, WORSE, "Failure")
    assert in_use(settings) == first
    browser.open("/assets/classifier_evaluation?view=checks", "not_worse_than_in_use", "Failed")

    browser.open(f"file://{path}", "By read length", "AUROC", first)
    browser.picture("evaluation")

    school.command("virnucpro", "classifiers", "back")
    assert in_use(settings) == "configured"
