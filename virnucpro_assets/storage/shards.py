"""Shards: what one rank of a drop produces with one encoder.

A shard is a folder. Its parts are written first, in any order; `shard.h5` is a view over
them; `manifest.toml` is written last, so a shard with a manifest is a finished one.

Parts and the manifest carry digests of their own, and the manifest has that of the view. A damaged
file is never removed or written over: it is set aside as `NAME.quarantine-N`, which no reader of a
shard looks at. Only a damaged part is computed again; view and manifest follow from the parts.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import DamagedFileError, IntegrityError, OtherVersionError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.storage.hdf5 import ViewBlock, write_view
from virnucpro_assets.storage.parts import (
    NO_INCIDENTS,
    PackCounts,
    PartPlan,
    PartRecord,
    part_recipe,
    refuse_other_recipe,
    rows_of,
    verify_part,
)
from virnucpro_assets.storage.provenance import Incidents, Recipe, Telemetry
from virnucpro_assets.vocabulary import EncoderKind

SHARD_MANIFEST = "manifest.toml"
SHARD_VIEW = "shard.h5"

ShardKey = tuple[EncoderKind, int]
"""A shard of a drop by its encoder and rank."""

_NO_TELEMETRY = Telemetry()


class ShardManifest(BaseModel):
    """A finished shard: its recipe and its parts in the order of their rows.

    `seconds` is the device time spent on it by the last run that computed any of it, and
    `computed_tokens` and `telemetry` the tokens and other figures of that run; `reused_parts` is how many
    parts the last run found already there. `view` is the record of `shard.h5`; only a shard that was
    never finished has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int
    rows: int
    width: int
    recipe: Recipe
    parts: list[PartRecord] = []
    view: FileRecord | None = None
    seconds: float = 0.0
    computed_tokens: int = 0
    telemetry: Telemetry = _NO_TELEMETRY
    reused_parts: int = 0
    devices: list[str] = []

    @property
    def counts(self) -> PackCounts:
        return sum((part.counts for part in self.parts), PackCounts())

    @property
    def cached_rows(self) -> int:
        """How many of its rows the embedding cache gave."""
        return sum(part.cached for part in self.parts)

    @property
    def incidents(self) -> Incidents:
        return sum((part.incidents for part in self.parts), NO_INCIDENTS)

    @property
    def digest(self) -> str:
        """What identifies the content: the recipe's digest, which quarantined rows change."""
        rows = [(str(entry.row), entry.reason) for entry in self.incidents.quarantined]
        return digest_of_files([("recipe", self.recipe.digest), *rows]) if rows else self.recipe.digest

    @property
    def tokens_per_second(self) -> float:
        """Tokens that the finishing run computed over its device time; 0 where it computed none."""
        return self.computed_tokens / self.seconds if self.seconds else 0.0

    @property
    def sequences_per_second(self) -> float:
        """Sequences that the finishing run computed over its device time; 0 where it computed none."""
        return self.telemetry.sequences / self.seconds if self.seconds else 0.0


def rank_name(rank: int, ranks: int) -> str:
    """The name of a rank's folder, for example `rank-00-of-04`."""
    return f"rank-{rank:02d}-of-{ranks:02d}"


def finish_shard(folder: Path, manifest: ShardManifest) -> ShardManifest:
    """Write the view over a shard's parts, then its manifest; returns the manifest with the view's record."""
    whole = PartPlan(rank=manifest.rank, number=0, start=0, stop=manifest.rows)
    blocks = [
        ViewBlock(folder / part.name, part.start, part.stop - part.start, 0, manifest.width)
        for part in manifest.parts
    ]
    rows = rows_of(whole, manifest.recipe.ranks)
    finished = manifest.model_copy(
        update={"view": write_view(folder / SHARD_VIEW, rows, manifest.width, blocks)}
    )
    write_manifest(folder / SHARD_MANIFEST, finished)
    return finished


def finished_shard(folder: Path) -> ShardManifest | None:
    """The manifest in `folder` as it is, or None if the shard was never finished.

    Raises DamagedFileError if the manifest is damaged; `valid_parts` sets such a one aside.
    """
    path = folder / SHARD_MANIFEST
    return read_manifest(path, ShardManifest) if path.exists() else None


def unfinish_shard(folder: Path) -> None:
    """Take the manifest away from a shard that lacks parts, before any of them is written."""
    (folder / SHARD_MANIFEST).unlink(missing_ok=True)


def read_shard(folder: Path, *, content: bool = False) -> ShardManifest:
    """The manifest of the shard in `folder`, its parts and view checked by size and, on demand, digest."""
    manifest = read_manifest(folder / SHARD_MANIFEST, ShardManifest)
    ends = [0, *(part.stop for part in manifest.parts)]
    if [part.start for part in manifest.parts] != ends[:-1] or ends[-1] != manifest.rows:
        raise IntegrityError(
            folder / SHARD_MANIFEST,
            found="parts with gaps or overlaps",
            expected=f"parts that cover rows 0 to {manifest.rows} once",
            advice="Materialise it again.",
        )
    if manifest.view is None:
        raise IntegrityError(
            folder / SHARD_MANIFEST,
            found=f"no record of {SHARD_VIEW}",
            expected="its size and digest",
            advice="Materialise it again.",
        )
    for part in manifest.parts:
        check_file(folder / part.name, part.file, content=content)
    check_file(folder / SHARD_VIEW, manifest.view, content=content)
    return manifest


def valid_parts(
    folder: Path, plans: Sequence[PartPlan], recipe: Recipe, *, keep_quarantined: bool
) -> tuple[dict[int, PartRecord], list[Path]]:
    """Which planned parts are there already and whole.

    Returns their records by part number, and the new names of damaged files, which are set
    aside: parts, but also the manifest and the view, which `finish_shard` writes again. Without
    `keep_quarantined`, a part that holds quarantined rows is left where it is but not returned,
    so that it is computed again and replaced. A part of another recipe is refused with
    IntegrityError.
    """
    set_aside_files = _set_aside_damaged_manifest_or_view(folder)
    if former := finished_shard(folder):
        refuse_other_recipe(folder / SHARD_MANIFEST, former.recipe, recipe)
    records: dict[int, PartRecord] = {}
    for plan in plans:
        path = folder / plan.file_name
        if not path.exists():
            continue
        try:
            record = verify_part(path, plan, recipe)
        except DamagedFileError:
            set_aside_files.append(set_aside(path, "quarantine"))
            continue
        if keep_quarantined or not record.incidents.quarantined:
            records[plan.number] = record
    return records, set_aside_files


def _set_aside_damaged_manifest_or_view(folder: Path) -> list[Path]:
    """Set a damaged manifest aside, or else a view that is not the one that the manifest records."""
    try:
        former = finished_shard(folder)
    except DamagedFileError:
        return [set_aside(folder / SHARD_MANIFEST, "quarantine")]
    view = folder / SHARD_VIEW
    if former is None or former.view is None or not view.exists():
        return []
    return [] if record_of_file(view) == former.view else [set_aside(view, "quarantine")]


def set_aside_shard(folder: Path, recipe: Recipe) -> Path | None:
    """Move a shard folder out of the way that holds anything of another recipe or version; returns its new name."""
    try:
        is_others = any(found != recipe for found in _recipes(folder))
    except OtherVersionError:
        is_others = True
    return set_aside(folder, "superseded") if is_others else None


def _recipes(folder: Path) -> Iterator[Recipe]:
    """The recipes of a shard's manifest and parts, damaged ones left out; OtherVersionError for one not known."""
    with suppress(DamagedFileError):
        if former := finished_shard(folder):
            yield former.recipe
    for part in sorted(folder.glob("part-*.h5")):
        with suppress(DamagedFileError):
            yield part_recipe(part)
