"""The folder of one generation of a drop: where its files are, and what a clean-up removed of them.

A clean-up leaves a record in the folder, beside `drop.toml`, of the data that it removed after their retention time. So
the digests of the drop's files are still known, and its delivery is not mistaken for a new one. A record is valid as
long as the removed data were not made again.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.sequences.index_manifest import INDEX_MANIFEST
from virnucpro_assets.storage.merged import MERGED_VIEW
from virnucpro_assets.storage.shards import rank_name
from virnucpro_assets.vocabulary import EncoderKind

REPORT = "report.html"
REMOVED_FILE = "removed.toml"


@dataclass(frozen=True)
class DropFolder:
    """The paths of one generation of a drop."""

    path: Path

    @property
    def index(self) -> Path:
        return self.path / "index"

    @property
    def is_indexed(self) -> bool:
        """Whether there is an index of its reads."""
        return (self.index / INDEX_MANIFEST).exists()

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def calls(self) -> Path:
        return self.path / "calls"

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def checks(self) -> Path:
        return self.path / "checks"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine"

    @property
    def report(self) -> Path:
        return self.path / REPORT

    @property
    def telemetry(self) -> Path:
        return self.path / "telemetry.jsonl"

    @property
    def check_page(self) -> Path:
        return self.path / "check_report.html"

    @property
    def check_data(self) -> Path:
        return self.path / "check_report.json"

    @property
    def manifest(self) -> Path:
        return self.path / "drop.toml"

    def shard(self, encoder: EncoderKind, rank: int, ranks: int) -> Path:
        return self.path / encoder / rank_name(rank, ranks)


class Removed(BaseModel):
    """What was removed of a generation, its embeddings or all its data; when (UTC), how many bytes, and why.

    `counts` are those of its calls, which may have been removed as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["embeddings", "data"]
    at: datetime
    size: int
    why: str
    counts: dict[str, int] = {}

    @property
    def line(self) -> str:
        """The record as a sentence."""
        return f"{self.what} removed by the clean-up on {self.at:%Y-%m-%d}: {self.why}"


def note_removed(folder: DropFolder, record: Removed) -> None:
    """Store the record of a generation; to be called before anything is removed."""
    write_manifest(folder.path / REMOVED_FILE, record)


def removed_of(folder: DropFolder) -> Removed | None:
    """What was removed of a generation and not made again, or None."""
    path = folder.path / REMOVED_FILE
    if not path.exists():
        return None
    record = read_manifest(path, Removed)
    sign = folder.path / MERGED_VIEW if record.what == "embeddings" else folder.index / INDEX_MANIFEST
    return None if sign.exists() else record
