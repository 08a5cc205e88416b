"""Progress: how far a long step is, how fast it goes and how long it will take."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from virnucpro_assets.errors import counted

Reporter = Callable[[str], None]

SURE_AFTER = 1.0
"""Seconds before which nothing is said about the rate: the first packs come at once, or after the start of a model."""
_PACE = r", [\d.,]+ a second"
_LINE = re.compile(
    rf"(\w+): (?:[\d,]+ of [\d,]+ \((?P<percent>\d+)%\) \w+(?:{_PACE}(?:, .+ left)?)?|[\d,]+ \w+{_PACE})"
)


@dataclass
class Progress:
    """Counts what is done of `total` and reports it, at most once in `interval` seconds.

    `unit` names one of what is counted; a total of None is not known. Durations are monotonic.
    """

    what: str
    unit: str
    total: int | None
    report: Reporter
    interval: float = 5.0
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def advance(self, count: int) -> None:
        """Add `count` to what is done."""
        self.done += count
        if time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            self.report(self.line())

    def finish(self) -> None:
        """Report the last line."""
        self.report(self.line())

    def line(self) -> str:
        """For example `esm2: 1,200 of 4,800 (25%) sequences, 310 a second, 12 s left`.

        Without a rate as long as there is none to go by, and without the rest where nothing is left.
        """
        if self.total == 0:
            return f"{self.what}: nothing to compute"
        seconds = time.monotonic() - self.started
        rate = self.done / seconds if seconds >= SURE_AFTER else 0.0
        share = "" if self.total is None else f" of {self.total:,} ({100 * self.done // self.total}%)"
        pace = f", {_figure(rate)} a second" if rate else ""
        left = (self.total or 0) - self.done
        rest = f", {_duration(left / rate)} left" if rate and left > 0 else ""
        units = counted(self.done if self.total is None else self.total, self.unit).partition(" ")[2]
        return f"{self.what}: {self.done:,}{share} {units}{pace}{rest}"


class Shown(NamedTuple):
    """A line of progress: the stage, its share in per cent if that is known, and the line after the stage."""

    stage: str
    percent: int | None
    rest: str


def parse_line(line: str) -> Shown | None:
    """What a line of `Progress` says; None for any other line."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    percent = found["percent"]
    return Shown(found[1], None if percent is None else int(percent), line.partition(": ")[2])


def _figure(rate: float) -> str:
    """A rate with two digits at least; a slow one never looks like none."""
    return f"{rate:,.0f}" if rate >= 10 else f"{max(rate, 0.001):.2g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
