"""When the files of a delivery have come to rest: the same content twice, a settle time apart.

First sight only notes names, sizes and times. Once a second scan finds them the same, the
content is read through; after the settle time it is read through again. Any change of names,
sizes, times or content starts from the beginning. A marker needs one pass only.

A pass may take several scans. The settle time counts from the end of the first pass to the
begin of the second, so each block was the same for at least that long.
"""

import time

from virnucpro_assets.files.content_passes import ContentPass, go_on
from virnucpro_assets.intake.drops_folder import Found
from virnucpro_assets.intake.folder_entries import Stat
from virnucpro_assets.intake.observations import Pending
from virnucpro_assets.settings import Settings


class Settler:
    """The deliveries that settle, in one scan at the time `now`, and how long it may still read."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settle_seconds = settings.settle_seconds
        self._now = now
        self._begun = time.monotonic()
        self._deadline = self._begun + settings.scan_seconds
        self._has_read = False

    def look(self, found: Found, seen: str, before: Pending | None) -> tuple[Pending, str]:
        """What is known of a delivery with the fingerprint `seen`, and what keeps it from being complete.

        It is complete if the entry says `twice`. Raises OSError if a file cannot be read.
        """
        if before is None or before.seen != seen:
            begun = Pending(seen=seen, since=self._now)
            if not found.is_marked:
                return begun, "files that have just come or changed"
            return self._read_on(found, begun)
        pending = self._not_ahead(before)
        is_early = pending.at is not None and self._now - pending.at < self._settle_seconds
        if pending.twice or (is_early and not found.is_marked):
            return pending, self._same
        return self._read_on(found, pending)

    @property
    def _same(self) -> str:
        return f"content that must stay the same for {self._settle_seconds:g} s"

    def _not_ahead(self, before: Pending) -> Pending:
        """The entry with no time after now: once a clock was set back the settle time starts again."""
        at = before.at if before.at is None else min(before.at, self._now)
        return before.model_copy(update={"since": min(before.since, self._now), "at": at})

    def _read_on(self, found: Found, pending: Pending) -> tuple[Pending, str]:
        if self._has_read and time.monotonic() >= self._deadline:
            return pending, "content that waits to be read"
        self._has_read = True
        labelled = [(f"{file.path.name}\0{file.mate}", file.path) for file in found.files]
        reading, content = go_on(labelled, pending.reading or ContentPass(), self._deadline)
        if not _is_unchanged(found):
            return Pending(seen=pending.seen, since=self._now), "files that changed while they were read"
        if content is None:
            return pending.model_copy(update={"reading": reading}), "content that is being read"
        is_same = found.is_marked or content == pending.first
        after = Pending(
            seen=pending.seen,
            since=pending.since if is_same or pending.first is None else self._now,
            first=content,
            at=self._now + time.monotonic() - self._begun,
            twice=is_same,
        )
        return after, self._same


def _is_unchanged(found: Found) -> bool:
    try:
        stats = tuple(Stat.of(file.path.stat()) for file in found.files)
    except FileNotFoundError:
        return False
    return stats == found.stats
