"""Rendering pages from templates, and figures and tables as text.

A page is one self-contained HTML file: styles are inline, nothing is loaded and no script runs. All data is escaped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virnucpro_assets.checks.results import NOT_JUDGED, figure
from virnucpro_assets.errors import counted

REASON_IN_WORDS = {
    "empty": "without a base",
    "too_short": "shorter than 3 bases",
    "no_codon": "no codon of A, C, G and T only",
    "no_stop_free_frame": "no reading frame without a stop codon",
    "not_scored": "could not be scored",
}


def render_page(template: str, **figures: Any) -> str:
    """Render a template of this folder; the same figures give the same page."""
    # Commands that print a table need no templates.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    environment.filters["duration"] = _duration
    environment.filters["figure"] = figure
    environment.filters["rough"] = _rough
    environment.filters["counted"] = counted
    environment.filters["reason"] = lambda reason: REASON_IN_WORDS.get(reason, reason)
    environment.tests["judged"] = lambda threshold: not threshold.startswith(NOT_JUDGED)
    return environment.get_template(template).render(**figures)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal; columns are as wide as their widest cell."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _percent(share: float) -> str:
    """With a no-break space; a share that is small but not 0 does not look like 0."""
    return "<0.1\u00a0%" if 0 < share < 0.0005 else f"{share * 100:.1f}\u00a0%"


def _rough(count: int) -> str:
    """A count, exact up to a million, then with three digits."""
    if count < 10**6:
        return f"{count:,}"
    # More is rounded to 1000, which has four digits.
    number, unit = (count / 10**6, "M") if count < 999_500_000 else (count / 10**9, "G")
    return f"{number:.3g}\u00a0{unit}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
