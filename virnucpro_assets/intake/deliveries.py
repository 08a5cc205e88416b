"""Scans of the drops folder: which deliveries are complete, and which must wait or are refused.

A scan compares what lies there with what the former one saw. Sizes and times are only a reason
to look: once they are the same in two scans the content is digested, and after the settle time
once more; equal digests make a delivery ready. A marker that came after all files takes the
place of the settle time. What is ready stays so, scan after scan, until it is registered and
its files were listed, so that a scan whose outcome got lost loses nothing.

The clock is the caller's, because a settle time outlives a process. One that is set back
starts the settle time again; one that is set forward can shorten it, and then two equal
digests of two scans are what is left.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.intake.delivery_names import printable
from virnucpro_assets.intake.drops_folder import Found, look
from virnucpro_assets.intake.observations import PENDING, Observations, Pending, fingerprint, token_of
from virnucpro_assets.intake.settling import Settler
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropSource, DropStore, SourceFile

State = Literal["settling", "ready", "changed", "known", "refused", "aside"]


@dataclass(frozen=True)
class Delivery:
    """A delivery and its state; `name` and `reason` are safe to print.

    `ready` would be a new drop, `changed` a new generation of a drop; of both `content` is a
    digest that is equal for equal files, 32 hexadecimal digits. `known` is a drop already, and
    unchanged. `aside` are files that hold no reads. `reason` says what was found of one that is settling, refused
    or left aside. `key` is empty
    where no drop can be called so, and for sample sheets, whose samples are deliveries.
    """

    name: str
    key: str
    state: State
    reason: str = ""
    files: tuple[ReadFile, ...] = ()
    seen: str = ""
    content: str = ""


@dataclass(frozen=True)
class Scan:
    """What a scan found, sorted by name, and what the next one needs to know of it."""

    deliveries: list[Delivery]
    observations: Observations

    def of(self, *states: State) -> list[Delivery]:
        """The deliveries in one of these states."""
        return [delivery for delivery in self.deliveries if delivery.state in states]


def scan(settings: Settings, former: Observations, now: float) -> Scan:
    """Look at the drops folder at the time `now` (seconds); `former` is what the former scan observed.

    Reads content for `settings.scan_seconds` at most, or one block. Raises OSError if the drops
    folder cannot be read; what is wrong with a delivery is its state.
    """
    scanner = _Scanner(settings, former, now)
    found = list(only_owners(look(settings), DropStore(settings.data_root)))
    deliveries = [scanner.judge(each) for each in sorted(found, key=scanner.turn)]
    return Scan(sorted(deliveries, key=lambda delivery: delivery.name), scanner.observations())


def only_owners(deliveries: Iterable[Found], store: DropStore) -> Iterator[Found]:
    """The same deliveries, those of one key refused, except the one that the drop was made of."""
    deliveries = list(deliveries)
    by_key: dict[str, list[Found]] = defaultdict(list)
    for found in deliveries:
        if found.key:
            by_key[found.key].append(found)
    for found in deliveries:
        others = [other for other in by_key.get(found.key, []) if other is not found]
        if others and not found.wrong and not _is_owner(found, store):
            yield replace(found, wrong=f"a name that {others[0].name} has too")
        else:
            yield found


def _is_owner(found: Found, store: DropStore) -> bool:
    try:
        source = store.source(found.key)
    except VirnucproError:
        return False
    registered = {file.path for file in source.files} if source else set()
    return any(file.path in registered for file in found.files)


class _Scanner:
    """One scan: what the former one saw, what this one sees, and the time it may still read."""

    def __init__(self, settings: Settings, former: Observations, now: float) -> None:
        self._store = DropStore(settings.data_root)
        self._former = former.pending
        self._tokens = former.tokens()
        self._settler = Settler(settings, now)
        self._pending: dict[str, Pending] = {}
        self._known: set[str] = set()
        self._settled_sheets: set[Path] = set()

    def turn(self, found: Found) -> tuple[bool, float, str]:
        """Sheets come first, for their samples depend on them; then what has waited longest."""
        before = self._former.get(_watched_as(found))
        return found.kind != "sheet", before.since if before else float("inf"), found.name

    def observations(self) -> Observations:
        """What the next scan needs to know."""
        return Observations(pending=self._pending, known="".join(sorted(self._known)))

    def judge(self, found: Found) -> Delivery:
        """The state of a delivery."""
        if found.wrong:
            return _delivery(found, "aside" if found.kind == "aside" else "refused", reason=found.wrong)
        if found.waits:
            self._keep_token(found)
            return _delivery(found, "settling", reason=found.waits)
        seen = fingerprint(found)
        if token_of(found.name, seen) in self._tokens:
            return self._take_as_known(found, seen)
        try:
            return self._settle(found, seen, None) if found.kind == "sheet" else self._compare(found, seen)
        except VirnucproError as error:
            return _delivery(found, "refused", reason=f"a drop whose records cannot be read ({error})")
        except OSError as error:
            name = _watched_as(found)
            if name in self._former:
                self._pending[name] = self._former[name]
            shown = printable(Path(error.filename).name) if error.filename else "a file"
            return _delivery(found, "refused", reason=f"{shown}, which cannot be read ({error.strerror})")

    def _compare(self, found: Found, seen: str) -> Delivery:
        source = self._store.source(found.key)
        if source is None:
            return self._settle(found, seen, None)
        if source.delivery is not None:
            if source.delivery.seen == seen:
                return self._registered(found, seen, source.delivery.content)
        elif self._is_as_listed(found):
            return self._take_as_known(found, seen)
        elif not source.follows_delivery and _places(source.files) != _places(found.files):
            reason = (
                f"the name of a drop that was made of other files (`virnucpro forget {found.key}` frees it)"
            )
            return _delivery(found, "refused", reason=reason)
        return self._settle(found, seen, source)

    def _registered(self, found: Found, seen: str, content: str) -> Delivery:
        if self._store.is_listed(found.key):
            return self._take_as_known(found, seen)
        return self._complete(found, seen, content)

    def _complete(self, found: Found, seen: str, content: str) -> Delivery:
        state: State = "changed" if self._store.was_listed(found.key) else "ready"
        return _delivery(found, state, seen=seen, content=content)

    def _take_as_known(self, found: Found, seen: str) -> Delivery:
        self._known.add(token_of(found.name, seen))
        if found.sheet is not None and found.kind == "sheet":
            self._settled_sheets.add(found.sheet)
        return _delivery(found, "known", seen=seen)

    def _keep_token(self, found: Found) -> None:
        if len(found.stats) == len(found.files):
            self._known |= self._tokens & {token_of(found.name, fingerprint(found))}

    def _is_as_listed(self, found: Found) -> bool:
        """Whether a drop that no scan registered has these files, and none was touched since they were listed."""
        if not self._store.is_listed(found.key):
            return False
        drop, folder = self._store.current(found.key)
        listed = folder.manifest.stat().st_mtime_ns
        return tuple(drop.read_files) == found.files and all(
            seen.size == record.size and max(seen.modified, seen.changed) <= listed
            for seen, record in zip(found.stats, drop.records, strict=True)
        )

    def _settle(self, found: Found, seen: str, source: DropSource | None) -> Delivery:
        name = _watched_as(found)
        if len(self._pending) >= PENDING:
            return _delivery(found, "settling", reason=f"no turn yet, for {PENDING} others settle")
        pending, reason = self._settler.look(found, seen, self._former.get(name))
        if pending.twice and found.kind == "sheet":
            return self._take_as_known(found, seen)
        content = pending.first or ""
        if pending.twice and source and source.delivery and source.delivery.content == content:
            # Only its times changed.
            return self._registered(found, seen, content)
        self._pending[name] = pending
        if pending.twice and (found.sheet is None or found.sheet in self._settled_sheets):
            return self._complete(found, seen, content)
        return _delivery(found, "settling", reason="a sample sheet that settles" if pending.twice else reason)


def _places(files: Iterable[ReadFile | SourceFile]) -> set[Path]:
    return {file.path for file in files}


def _watched_as(found: Found) -> str:
    return found.key or found.name


def _delivery(found: Found, state: State, *, reason: str = "", seen: str = "", content: str = "") -> Delivery:
    return Delivery(found.name, found.key, state, reason, found.files, seen, content)
