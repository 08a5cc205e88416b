"""Stage records: the duration and the figures of each stage of a drop, in one small file each.

The report and the metadata of the assets read them; no result depends on them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets import __version__
from virnucpro_assets.files.manifests import read_manifest, write_manifest


class StageRecord(BaseModel):
    """A stage by name, its wall-clock seconds, its figures, and when it ended (UTC; not in older records)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seconds: float
    made_by: str = __version__
    ended_at: datetime | None = None
    figures: dict[str, int | float | str] = {}


@contextmanager
def recorded_stage(folder: Path, name: str) -> Iterator[dict[str, int | float | str]]:
    """Time the block and record it as `folder/name.toml`; the block may add figures.

    A block that raises is not recorded: a record that is there stays.
    """
    figures: dict[str, int | float | str] = {}
    started = time.monotonic()
    yield figures
    write_stage(folder, name, time.monotonic() - started, figures)


def write_stage(folder: Path, name: str, seconds: float, figures: dict[str, int | float | str]) -> None:
    """Record a stage that has just ended and took so many seconds as `folder/name.toml`."""
    record = StageRecord(
        name=name,
        seconds=round(seconds, 3),
        ended_at=datetime.now(UTC).replace(microsecond=0),
        figures=figures,
    )
    write_manifest(folder / f"{name}.toml", record)


def read_stages(folder: Path) -> dict[str, StageRecord]:
    """The records in `folder` by name."""
    return {path.stem: read_manifest(path, StageRecord) for path in sorted(folder.glob("*.toml"))}
