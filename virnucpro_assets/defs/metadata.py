"""Metadata: what a materialisation shows of itself in the UI."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.settings import Settings

Metadata = dict[str, Any]


def path(value: Path) -> dg.MetadataValue[Any]:
    """A place in the file system."""
    return dg.MetadataValue.path(str(value.absolute()))


def page(value: Path, settings: Settings) -> dg.MetadataValue[Any]:
    """A page in the data root: a link where the settings say at which address pages are served, else its path."""
    if settings.reports_url is None:
        return path(value)
    below = value.absolute().relative_to(settings.data_root.absolute())
    return dg.MetadataValue.url(f"{settings.reports_url.rstrip('/')}/{below.as_posix()}")


def picture(png: bytes) -> dg.MetadataValue[Any]:
    """A small plot, shown in place."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def counts_table(counts: Mapping[str, int], what: str) -> dg.MetadataValue[Any]:
    """Counts by name, as a table of two columns."""
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| {what} | count |\n| --- | ---: |\n{rows}")
