"""Metadata as the UI shows it."""

import base64
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from virnucpro_assets.defs import metadata
from virnucpro_assets.settings import Settings


def test_a_path_is_shown_from_the_root():
    assert metadata.path(Path("here")).value == str(Path.cwd() / "here")


def test_a_picture_is_shown_in_place():
    shown = metadata.picture(b"png").value

    assert shown == f"![plot](data:image/png;base64,{base64.b64encode(b'png').decode()})"


def test_counts_are_a_table_of_two_columns():
    assert metadata.counts_table({"empty": 1200, "too_short": 3}, "reason").value.splitlines() == [
        "| reason | count |",
        "| --- | ---: |",
        "| empty | 1,200 |",
        "| too_short | 3 |",
    ]


def test_a_page_is_a_link_where_the_settings_say_at_which_address_pages_are_served(tmp_path: Path) -> None:
    place = tmp_path / "data" / "d1" / "0123456789ab" / "report.html"
    assert metadata.page(place, Settings(data_root=tmp_path / "data")) == dg.MetadataValue.path(str(place))
    served = Settings(data_root=tmp_path / "data", reports_url="https://host.example/reports/")
    assert metadata.page(place, served) == dg.MetadataValue.url(
        "https://host.example/reports/d1/0123456789ab/report.html"
    )


def test_an_address_of_pages_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="reports_url"):
        Settings(reports_url="host.example/reports")
