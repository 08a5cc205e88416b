"""Scans of the drops folder: which deliveries are complete, and which must wait or are refused.

A delivery is complete once its files have had the same names, sizes and times for the settle time, or once its
marker is newer than all of them. Content is not read: a file that changes after all gets another fingerprint and
makes a new generation of the drop. A complete delivery stays so, scan after scan, until it is registered and its
files were listed, so nothing is lost if the result of a scan is.

The caller gives the time, because a settle time is longer than a process may live. A clock that is set back delays
a delivery, one that is set forward can shorten its settle time to the time between two scans.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.intake.deliveries import Delivery, State
from virnucpro_assets.intake.drops_folder import find_deliveries
from virnucpro_assets.intake.entries import printable
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_sources import DropSource, SourceFile
from virnucpro_assets.storage.drops import DropStore


class Observations(BaseModel):
    """What a scan leaves for the next one, by token (a hash of a delivery and its files, see `_token_of`).

    `settling` has the time (seconds) of the scan that first saw the files as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settling: dict[str, float] = {}
    known: list[str] = []

    @classmethod
    def from_cursor(cls, text: str | None) -> "Observations":
        """The observations that `to_cursor` wrote; none if the text is missing or of another version."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    def to_cursor(self) -> str:
        """One line of JSON for `from_cursor`."""
        return self.model_dump_json(exclude_defaults=True)


@dataclass(frozen=True)
class Scan:
    """The deliveries, sorted by name, and the observations for the next scan."""

    deliveries: list[Delivery]
    observations: Observations

    def of(self, *states: State) -> list[Delivery]:
        """The deliveries in one of these states."""
        return [delivery for delivery in self.deliveries if delivery.state in states]


def scan(settings: Settings, former: Observations, now: float) -> Scan:
    """Scan the drops folder at the time `now` (seconds); `former` are the observations of the last scan.

    Raises OSError if the drops folder cannot be read; an error in a delivery becomes its state.
    """
    scanner = _Scanner(settings, former, now)
    found = list(without_rivals(find_deliveries(settings), scanner.store))
    # Sheets first: a sample is complete only if its sheet is.
    deliveries = [scanner.judge(each) for each in sorted(found, key=lambda each: not each.is_sheet)]
    return Scan(sorted(deliveries, key=lambda delivery: delivery.name), scanner.observations)


def without_rivals(deliveries: Iterable[Delivery], store: DropStore) -> Iterator[Delivery]:
    """The same deliveries; of those with one key all are refused but the one of which the drop was made."""
    deliveries = list(deliveries)
    by_key: dict[str, list[Delivery]] = defaultdict(list)
    for found in deliveries:
        if found.key:
            by_key[found.key].append(found)
    for found in deliveries:
        others = [other for other in by_key.get(found.key, []) if other is not found]
        if others and found.state != "refused" and not _is_owner(found, store):
            yield found.refused(f"a name that {others[0].name} has too")
        else:
            yield found


def _is_owner(found: Delivery, store: DropStore) -> bool:
    try:
        source = store.source(found.key)
    except VirnucproError:
        return False
    return source is not None and not _paths(source.files).isdisjoint(_paths(found.files))


class _Scanner:
    """One scan: what the last one observed, and what this one does."""

    def __init__(self, settings: Settings, former: Observations, now: float) -> None:
        self.store = DropStore(settings.data_root)
        self.observations = Observations(settling={}, known=[])
        self._settle_seconds = settings.settle_seconds
        self._now = now
        self._settling = former.settling
        self._known = frozenset(former.known)
        self._settled_sheets: set[Path] = set()

    def judge(self, found: Delivery) -> Delivery:
        """A delivery with the state that it has for the platform."""
        if found.state != "complete":
            return found
        if _token_of(found) in self._known:
            return self._take_as_known(found)
        try:
            return self._compare(found)
        except VirnucproError as error:
            return found.refused(f"a drop whose records cannot be read ({error})")
        except OSError as error:
            shown = printable(Path(error.filename).name) if error.filename else "a file"
            return found.refused(f"{shown}, which cannot be read ({error.strerror})")

    def _compare(self, found: Delivery) -> Delivery:
        """The state of a delivery, whose drop may be registered already."""
        if found.is_sheet:
            return self._waits(found) or self._take_as_known(found)
        source = self.store.source(found.key)
        is_registered = (
            source is not None and source.delivery is not None and source.delivery.seen == found.seen
        )
        if is_registered or self._is_as_listed(found, source):
            if self.store.is_listed(found.key):
                return self._take_as_known(found)
        else:
            if _is_of_others(found, source):
                advice = f"`virnucpro forget {found.key}` frees it"
                return found.refused(f"the name of a drop that was made of other files ({advice})")
            if waits := self._waits(found):
                return waits
            if found.sheet is not None and found.sheet not in self._settled_sheets:
                return found.settling("a sample sheet that settles")
        return replace(found, state="changed" if self.store.was_listed(found.key) else "ready")

    def _waits(self, found: Delivery) -> Delivery | None:
        """The delivery as settling, or None if it is complete. Raises OSError if a file cannot be opened."""
        token = _token_of(found)
        since = min(self._settling.get(token, self._now), self._now)
        self.observations.settling[token] = since
        is_new = token not in self._settling
        if not found.is_marked and (is_new or self._now - since < self._settle_seconds):
            same = f"files that must stay the same for {self._settle_seconds:g} s"
            reason = "files that have just come or changed" if is_new else same
            return found.settling(reason)
        for file in found.files:
            file.path.open("rb").close()
        return None

    def _take_as_known(self, found: Delivery) -> Delivery:
        self.observations.known.append(_token_of(found))
        if found.is_sheet and found.sheet is not None:
            self._settled_sheets.add(found.sheet)
        return replace(found, state="known")

    def _is_as_listed(self, found: Delivery, source: DropSource | None) -> bool:
        """Whether the files are those that were listed, with the same sizes and times of content.

        A backup by hard links, or other permissions, change the times of the inodes of all files and nothing else.
        """
        if source is None or not self.store.is_listed(found.key):
            return False
        drop, folder = self.store.current(found.key)
        listed = folder.manifest.stat().st_mtime_ns
        stamps = drop.stamps or [""] * len(drop.records)
        return tuple(drop.read_files) == found.files and all(
            stamp.split()[:2] == [str(seen.size), str(seen.modified)]
            if stamp
            else seen.size == record.size and max(seen.modified, seen.changed) <= listed
            for seen, record, stamp in zip(found.stats, drop.records, stamps, strict=True)
        )


def _token_of(found: Delivery) -> str:
    """Eight bytes, as eleven letters, of a delivery's name and fingerprint."""
    digest = hashlib.sha256(f"{found.name}\0{found.seen}".encode()).digest()[:8]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _is_of_others(found: Delivery, source: DropSource | None) -> bool:
    """Whether the drop of this key was registered by a command, with other files."""
    if source is None or source.delivery is not None or source.follows_delivery:
        return False
    return _paths(source.files) != _paths(found.files)


def _paths(files: Iterable[ReadFile | SourceFile]) -> set[Path]:
    return {file.path for file in files}
