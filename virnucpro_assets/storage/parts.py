"""Parts: the atomically written pieces of a shard.

A part holds the embeddings of a run of consecutive rows of one rank. Which rows is decided
by the plan alone, never by the clock, so the same drop and recipe always give the same parts.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.errors import (
    DamagedFileError,
    IntegrityError,
    OtherVersionError,
    counted,
    describe_validation_error,
)
from virnucpro_assets.files.digests import FileRecord
from virnucpro_assets.storage.hdf5 import open_sealed, write_sealed
from virnucpro_assets.storage.provenance import ENGINE_FORMAT, Incidents, Recipe

NO_INCIDENTS = Incidents()


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Part `number` of rank `rank` covers the rank's rows `start` up to but not including `stop`.

    These are positions within the rank: position i of rank r of W is row r + i * W of the index.
    """

    rank: int
    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        return f"part-{self.number:05d}.h5"


class PackCounts(BaseModel):
    """How full the packs of one or more parts were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    packs: int = 0
    tokens: int = 0

    def __add__(self, other: "PackCounts") -> "PackCounts":
        return PackCounts(packs=self.packs + other.packs, tokens=self.tokens + other.tokens)

    def efficiency(self, token_budget: int) -> float:
        """Tokens in packs over what the packs could hold, 0 to 1; 1 where there are no packs."""
        return self.tokens / (self.packs * token_budget) if self.packs else 1.0


class PartRecord(BaseModel):
    """What a shard's manifest remembers of a part; `cached` is how many of its rows the embedding cache gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    start: int
    stop: int
    width: int
    file: FileRecord
    content_sha256: str
    counts: PackCounts
    incidents: Incidents = NO_INCIDENTS
    cached: int = Field(0, exclude_if=lambda cached: not cached)


def write_part(
    path: Path,
    plan: PartPlan,
    recipe: Recipe,
    embeddings: npt.NDArray[np.float32],
    counts: PackCounts,
    *,
    incidents: Incidents = NO_INCIDENTS,
    cached: int = 0,
) -> PartRecord:
    """Write a part's embeddings, float32 [stop - start, width], and return its record.

    `cached` of its rows came from the embedding cache; `counts` are the packs of the others.

    Raises ValueError unless the rows that are quarantined are NaN and all others finite.
    """
    rows = rows_of(plan, recipe.ranks)
    if len(rows) != len(embeddings):
        raise ValueError(f"{path}: {counted(len(embeddings), 'embedding')} for {counted(len(rows), 'row')}")
    if contradiction := incidents.contradiction(rows, embeddings):
        raise ValueError(f"{path}: {contradiction}")
    content = _content_digest(rows, embeddings)

    def fill(file: h5py.File) -> None:
        file["rows"] = rows
        file["embeddings"] = embeddings
        file.attrs.update(
            {
                "recipe": recipe.model_dump_json(),
                "rank": plan.rank,
                "part": plan.number,
                "start": plan.start,
                "stop": plan.stop,
                "packs": counts.packs,
                "tokens": counts.tokens,
                "incidents": incidents.model_dump_json(),
                "content_sha256": content,
            }
        )

        if recipe.cached:
            file.attrs["cached"] = cached

    return PartRecord(
        name=plan.file_name,
        start=plan.start,
        stop=plan.stop,
        width=embeddings.shape[1],
        file=write_sealed(path, fill),
        content_sha256=content,
        counts=counts,
        incidents=incidents,
        cached=cached,
    )


def verify_part(path: Path, plan: PartPlan, recipe: Recipe) -> PartRecord:
    """The record of the part at `path`, every byte checked.

    Raises DamagedFileError if the content is not what was written, covers other rows than
    `plan`, or holds NaN or Inf in a row that is not quarantined or numbers in one that is.
    Raises IntegrityError, naming both digests, if another recipe made it.
    """
    with open_sealed(path) as (file, file_record):
        refuse_other_recipe(path, _recipe_in(path, file), recipe)
        rows, embeddings = file["rows"][:], file["embeddings"][:]
        counts = PackCounts(packs=int(file.attrs["packs"]), tokens=int(file.attrs["tokens"]))
        incidents = _incidents_in(path, file)
        cached = int(file.attrs.get("cached", 0))
        content = str(file.attrs["content_sha256"])
    if content != _content_digest(rows, embeddings) or not np.array_equal(rows, rows_of(plan, recipe.ranks)):
        raise DamagedFileError(
            path,
            found="other rows",
            expected=f"those of rank {plan.rank}, {plan.start} to {plan.stop}",
            advice="Move the file away and materialise it again.",
        )
    if contradiction := incidents.contradiction(rows, embeddings):
        raise DamagedFileError(
            path,
            found=contradiction,
            expected="NaN in quarantined rows and nowhere else",
            advice="Move the file away and materialise it again.",
        )
    return PartRecord(
        name=plan.file_name,
        start=plan.start,
        stop=plan.stop,
        width=embeddings.shape[1],
        file=file_record,
        content_sha256=content,
        counts=counts,
        incidents=incidents,
        cached=cached,
    )


def part_recipe(path: Path) -> Recipe:
    """The recipe of the part at `path`.

    Raises DamagedFileError if the file is not whole, OtherVersionError if this version cannot read it.
    """
    with open_sealed(path) as (file, _):
        _incidents_in(path, file)
        return _recipe_in(path, file)


def _recipe_in(path: Path, file: h5py.File) -> Recipe:
    try:
        return Recipe.model_validate_json(file.attrs["recipe"])
    except (ValidationError, KeyError) as error:
        raise _of_other_version(path, "recipe", error) from error


def _incidents_in(path: Path, file: h5py.File) -> Incidents:
    try:
        return Incidents.model_validate_json(file.attrs.get("incidents", "{}"))
    except ValidationError as error:
        raise _of_other_version(path, "list of incidents", error) from error


def _of_other_version(path: Path, what: str, error: ValidationError | KeyError) -> OtherVersionError:
    found = describe_validation_error(error) if isinstance(error, ValidationError) else "none"
    return OtherVersionError(
        path,
        found=f"a {what} that this version does not know ({found})",
        expected=f"one of engine format {ENGINE_FORMAT}",
        advice="Go back to the version that wrote it, or replace the stored embeddings (virnucpro materialize "
        "DROP --replace).",
    )


def refuse_other_recipe(path: Path, found: Recipe, expected: Recipe) -> None:
    """Raise IntegrityError, naming both digests and what differs, unless the recipes are equal."""
    if found != expected:
        raise IntegrityError(
            path,
            found=f"embeddings of recipe {found.digest}",
            expected=f"recipe {expected.digest} ({'; '.join(found.differences(expected))})",
            advice="Embeddings of two recipes are never mixed: go back to the former settings, or replace the stored "
            "embeddings: give the same command again with --replace (predict, materialize).",
        )


def rows_of(plan: PartPlan, ranks: int) -> npt.NDArray[np.int64]:
    """int64 [stop - start]: the rows of the index that a part covers, ascending."""
    return plan.rank + np.arange(plan.start, plan.stop, dtype=np.int64) * ranks


def _content_digest(rows: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float32]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(rows, "<i8").data)
    digest.update(np.ascontiguousarray(embeddings, "<f4").data)
    return digest.hexdigest()
