"""Records of a drop by another version: they are whole, but this version cannot read them.

If the stored files of the drop may be replaced, the records are renamed to `NAME.superseded-N`, and the stages write
them again. Indexes and shards are not checked here: their stages compare them with what they would write, and replace
or rename others.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.drops.stage_locks import generation_locks
from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.errors import IntegrityError, OtherVersionError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.storage.drop_folders import REMOVED_FILE as REMOVED
from virnucpro_assets.storage.drop_folders import Removed
from virnucpro_assets.storage.drop_sources import DropSource
from virnucpro_assets.storage.drops import CurrentGeneration, DropManifest, DropStore
from virnucpro_assets.storage.merged import MANIFEST as MERGED
from virnucpro_assets.storage.merged import MergedManifest
from virnucpro_assets.storage.quarantine import QuarantineRecord
from virnucpro_assets.storage.tables import MANIFEST as TABLES
from virnucpro_assets.storage.tables import TablesManifest

OF_GENERATION: dict[str, type[BaseModel]] = {
    "drop.toml": DropManifest,
    MERGED: MergedManifest,
    f"predictions/{TABLES}": TablesManifest,
    f"calls/{TABLES}": TablesManifest,
    "stages/*.toml": StageRecord,
    "checks/*.toml": CheckResult,
    "quarantine/*.toml": QuarantineRecord,
    REMOVED: Removed,
}
GENERATION = "[0-9a-f]" * 12


def set_aside_other_versions(store: DropStore, key: str, *, source: bool = False) -> list[Path]:
    """Rename the records of drop `key` that another version wrote; returns their new paths.

    With `source` also the record of its files, which must then be registered again. Raises BusyError if a run works on
    a generation with such records.
    """
    folder = store.root / key
    of_drop: dict[str, type[BaseModel]] = {"current.toml": CurrentGeneration}
    if source:
        of_drop["source.toml"] = DropSource
    aside = [set_aside(path, "superseded") for path in _of_other_versions(folder, of_drop)]
    for generation in sorted(folder.glob(GENERATION)):
        if list(_of_other_versions(generation, OF_GENERATION)):
            with generation_locks(generation, f"the replacement of drop {key}"):
                found = list(_of_other_versions(generation, OF_GENERATION))
                aside += [set_aside(path, "superseded") for path in found]
    return aside


def _of_other_versions(folder: Path, records: dict[str, type[BaseModel]]) -> Iterator[Path]:
    for pattern, kind in records.items():
        for path in sorted(folder.glob(pattern)):
            try:
                read_manifest(path, kind)
            except OtherVersionError:
                yield path
            except IntegrityError:
                # The stage that reads the record reports the damage.
                continue
