"""The record that a clean-up leaves of data that it removed after their retention time.

It is in the folder of the generation, beside `drop.toml`. So the digests of the drop's files are still known, and its
delivery is not mistaken for a new one. A record is valid as long as the removed data were not made again.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.sequences.index import MANIFEST_FILE as INDEX
from virnucpro_assets.storage.drops import DropFolder
from virnucpro_assets.storage.merged import VIEW as MERGED

FILE = "removed.toml"


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
    write_manifest(folder.path / FILE, record)


def removed_of(folder: DropFolder) -> Removed | None:
    """What was removed of a generation and not made again, or None."""
    path = folder.path / FILE
    if not path.exists():
        return None
    record = read_manifest(path, Removed)
    sign = folder.path / MERGED if record.what == "embeddings" else folder.index / INDEX
    return None if sign.exists() else record
