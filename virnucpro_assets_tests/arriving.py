"""A drops folder and whoever scans it, with a clock that the test sets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virnucpro_assets.intake.deliveries import Delivery
from virnucpro_assets.intake.registration import list_drop, register_delivery
from virnucpro_assets.intake.scan import Observations, Scan, scan
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

READS = ">a\nATGGCTGCAGGTCTG\n"


@dataclass
class Arrivals:
    """Scans of `root`/drops, 31 seconds apart; what one leaves for the next goes through text each time."""

    root: Path
    settings: Settings
    cursor: str | None = None
    now: float = 1_000_000.0

    @classmethod
    def under(cls, root: Path, **settings: Any) -> "Arrivals":
        (root / "drops").mkdir()
        return cls(root, Settings(data_root=root / "data", drops_folder=root / "drops", **settings))

    @property
    def drops(self) -> Path:
        return self.settings.drops_folder

    @property
    def store(self) -> DropStore:
        return DropStore(self.settings.data_root)

    def write(self, name: str, content: str | bytes = READS) -> Path:
        """A file in the drops folder, and the folders that it needs."""
        path = self.drops / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def scan(self, after: float = 31) -> Scan:
        """The next scan, so many seconds after the last."""
        self.now += after
        found = scan(self.settings, Observations.from_cursor(self.cursor), self.now)
        self.cursor = found.observations.to_cursor()
        return found

    def states(self, after: float = 31) -> dict[str, str]:
        """The state of every delivery in the next scan, by name."""
        return {delivery.name: delivery.state for delivery in self.scan(after).deliveries}

    def wait(self, scans: int = 4) -> Scan:
        """Several scans; the last of them."""
        for _ in range(scans - 1):
            self.scan()
        return self.scan()

    def take(self, found: Scan) -> list[Delivery]:
        """Register and list what is ready or changed, as runs would; returns it."""
        taken = found.of("ready", "changed")
        for delivery in taken:
            register_delivery(delivery, self.settings)
            list_drop(delivery.key, self.settings)
        return taken

    def names_of(self, key: str) -> list[tuple[str, int]]:
        """Names and mates of the files of the current generation of a drop."""
        drop, _ = self.store.current(key)
        return [(file.path.name, file.mate) for file in drop.read_files]


NOBODY = 65534


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom permission bits bind; the superuser reads everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
