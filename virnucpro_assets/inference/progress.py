"""Progress: how far a long step is, how fast it goes and how long it will take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Reporter = Callable[[str], None]


@dataclass
class Progress:
    """Counts what is done of `total` and reports it, at most once in `interval` seconds.

    `unit` names what is counted; a total of None is not known. Durations are monotonic.
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
        """For example `esm2: 1,200 of 4,800 (25%) sequences, 310 a second, 12 s left`."""
        if self.total == 0:
            return f"{self.what}: nothing to compute"
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / seconds
        counted = f"{self.what}: {self.done:,}"
        pace = f"{self.unit}, {rate:,.0f} a second"
        if self.total is None:
            return f"{counted} {pace}"
        share = self.done / self.total
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate else ""
        return f"{counted} of {self.total:,} ({share:.0%}) {pace}{left}"
