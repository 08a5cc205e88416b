"""The quarantine of a drop: the sequences that cannot be embedded, with their names.

The folder has one record for each encoder and rank with such sequences, and `quarantine.tsv`, which is made from all of
them; without such sequences it has neither. The parts contain the same information by row number, and are
authoritative. A record belongs to one index: rows of another index are other sequences.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.atomic import sync_folder, write_text
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.storage.shards import rank_name
from virnucpro_assets.vocabulary import EncoderKind, QuarantineReason

QUARANTINE_TABLE = "quarantine.tsv"
HEADER = ("encoder", "rank", "row", "reason", "members", "first_member")
QUARANTINE_IN_WORDS: dict[QuarantineReason, str] = {
    "not_finite": "NaN or Inf, in float32 too",
    "out_of_memory": "does not fit the device's memory, even alone",
    "kills_process": "ends its device process",
}


class QuarantineEntry(BaseModel):
    """A row of the index that cannot be embedded, the number of its candidates, and the first of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    reason: QuarantineReason
    first_member: str
    members: int


class QuarantineRecord(BaseModel):
    """The rows that one rank of a drop cannot embed with one encoder, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderKind
    rank: int
    ranks: int
    index_digest: str
    entries: list[QuarantineEntry]

    @property
    def file_name(self) -> str:
        return f"{self.encoder}.{rank_name(self.rank, self.ranks)}.toml"


def write_quarantine(folder: Path, record: QuarantineRecord) -> None:
    """Replace the record of this encoder and rank; one without entries is removed."""
    if record.entries:
        write_manifest(folder / record.file_name, record)
    else:
        _remove(folder / record.file_name)


def read_quarantine(folder: Path) -> list[QuarantineRecord]:
    """All records of a drop, by encoder and rank; DamagedFileError if one is damaged."""
    return [read_manifest(path, QuarantineRecord) for path in sorted(folder.glob("*.toml"))]


def remove_former_quarantine(folder: Path, index_digest: str) -> None:
    """Remove the records of other indexes than the one with this digest."""
    for record in read_quarantine(folder):
        if record.index_digest != index_digest:
            _remove(folder / record.file_name)


def write_quarantine_table(folder: Path) -> Path | None:
    """Write all records as one table, a line for each row; returns its path, or None if there are none."""
    lines = [
        (record.encoder, record.rank, entry.row, entry.reason, entry.members, entry.first_member)
        for record in read_quarantine(folder)
        for entry in record.entries
    ]
    if not lines:
        _remove(folder / QUARANTINE_TABLE)
        return None
    write_text(
        folder / QUARANTINE_TABLE, "".join("\t".join(map(str, line)) + "\n" for line in [HEADER, *lines])
    )
    return folder / QUARANTINE_TABLE


def _remove(path: Path) -> None:
    if path.exists():
        path.unlink()
        sync_folder(path.parent)
