"""Debian's Chromium, driven by Playwright, which is imported where it is used: `make test` has none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virnucpro_assets_tests.sites.debian import program

SIZE = {"width": 1600, "height": 1000}
PATIENCE = 60_000


@dataclass(frozen=True)
class Browser:
    """An open page of a web server, and a folder for pictures of it."""

    page: Any
    address: str
    pictures: Path

    def open(self, path: str, *texts: str) -> None:
        """Open a path of the server, or another address, and wait until it shows all of some texts."""
        from playwright.sync_api import expect  # noqa: PLC0415

        self.page.goto(path if "://" in path else f"{self.address}{path}")
        for text in texts:
            expect(self.page.get_by_text(text, exact=False).first).to_be_visible(timeout=PATIENCE)

    def counts(self, text: str, times: int) -> None:
        """Fail unless the page shows a text so many times within PATIENCE."""
        from playwright.sync_api import expect  # noqa: PLC0415

        expect(self.page.get_by_text(text)).to_have_count(times, timeout=PATIENCE)

    def picture(self, name: str) -> Path:
        """Take a picture once nothing is loading any more."""
        from playwright.sync_api import expect  # noqa: PLC0415

        expect(self.page.get_by_text("Loading")).to_have_count(0, timeout=PATIENCE)
        self.page.wait_for_timeout(1500)
        target = self.pictures / f"{name}.png"
        self.page.screenshot(path=target)
        return target


@contextmanager
def open_browser(address: str, pictures: Path) -> Iterator[Browser]:
    """A browser that has opened no page yet, for the block."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    chromium = program("chromium", "chromium", folder="/usr/bin")
    pictures.mkdir(parents=True, exist_ok=True)
    # Chromium's own sandbox refuses root; the pages are ours.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport=SIZE, device_scale_factor=1)
        try:
            yield Browser(page, address, pictures)
        finally:
            browser.close()
