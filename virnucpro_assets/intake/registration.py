"""From files to a listed drop: which files belong to it, and the digest of each.

A drop that is replaced may have records by another version, which are whole, but which this version cannot read. They
are renamed to `NAME.superseded-N`, and the stages write them again. Indexes and shards are not checked here: their
stages compare them with what they would write, and replace or rename others.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.drops.stage_locks import generation_locks
from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.errors import InputError, IntegrityError, OtherVersionError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.files.user_paths import require_plain_file
from virnucpro_assets.intake.checksums import check_listed
from virnucpro_assets.intake.deliveries import Delivery
from virnucpro_assets.intake.drops_folder import find_deliveries
from virnucpro_assets.intake.entries import key_of_file
from virnucpro_assets.intake.scan import without_rivals
from virnucpro_assets.sequences.names import DuplicatePolicy
from virnucpro_assets.sequences.read_files import ReadFile, without_mate
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import REMOVED_FILE as REMOVED
from virnucpro_assets.storage.drop_folders import Removed
from virnucpro_assets.storage.drop_sources import DeliveryMark, DropSource
from virnucpro_assets.storage.drops import CurrentGeneration, DropManifest, DropStore, check_key
from virnucpro_assets.storage.merged import MANIFEST as MERGED
from virnucpro_assets.storage.merged import MergedManifest
from virnucpro_assets.storage.quarantine import QuarantineRecord
from virnucpro_assets.storage.tables import MANIFEST as TABLES
from virnucpro_assets.storage.tables import TablesManifest
from virnucpro_assets.vocabulary import Label

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


def key_from_name(path: Path) -> str:
    """A drop key from the name of a read file, as in the drops folder; other letters become '-'."""
    stem = key_of_file(path.name) or without_mate(path.name.split(".")[0])
    key = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in stem
    )
    return check_key(key.strip("-_")[:64] or "drop")


def register_reads(
    key: str,
    files: Sequence[ReadFile],
    settings: Settings,
    *,
    chunk_length: int | None = None,
    duplicates: DuplicatePolicy | None = None,
    min_score: float | None = None,
    per_pair: bool = False,
    label: Label | None = None,
    replace: bool = False,
) -> None:
    """Register `files` as drop `key`; `label` is their class if they are for training.

    With `replace` the records of another version are set aside. Raises InputError for a path that is no plain file,
    and, without `replace`, for a drop that was made from other files or with other options. A drop without an index,
    because its files were wrong for example, is registered again.
    """
    store = DropStore(settings.data_root)
    settings.check_not_own(check_key(key))
    for file in files:
        require_plain_file(file.path)
    if replace:
        set_aside_other_versions(store, key, source=True)
    before = store.source(key)
    after = DropSource.of(
        files,
        chunk_length=chunk_length or settings.chunk_length,
        duplicates=duplicates or settings.duplicates,
        min_score=min_score,
        per_pair=per_pair,
        label=label,
    )
    if before is not None and not before.same_reads(after) and not replace and store.is_indexed(key):
        raise InputError(
            f"drop {key}",
            found="another drop of this name with other files or options",
            expected="a new name or the same files",
            advice="Choose another name (--name), or replace the drop (--replace).",
        )
    store.register(key, after)


def register_delivery(delivery: Delivery, settings: Settings) -> None:
    """Register a delivery that a scan found `ready` or `changed` as the drop of its key.

    The drop is made of exactly the files of that scan, until a later scan finds that they changed. Registering it
    twice changes nothing.
    """
    _register_found(delivery.key, delivery.files, settings, delivery=DeliveryMark(seen=delivery.seen))


def check_arrived(key: str, settings: Settings) -> None:
    """Raise InputError unless drop `key` is registered, or a whole delivery of that name is there."""
    source = DropStore(settings.data_root).source(key)
    if source is None or source.follows_delivery:
        _find_delivery(key, settings)


def list_drop(key: str, settings: Settings) -> DropManifest:
    """Digest the files of a drop and make the result its current generation.

    A drop that is not registered is made of the delivery of that name, which is searched again at each call: files
    that came or went since then make the next generation. Raises InputError if there is no such delivery, if it
    cannot be a drop, or if a file differs from a list of checksums beside it.
    """
    store = DropStore(settings.data_root)
    source = store.source(key)
    if source is None or source.follows_delivery:
        _register_found(key, _find_delivery(key, settings).files, settings, follows_delivery=True)
        source = store.source(key)
    if source and (source.follows_delivery or source.delivery):
        check_listed([file.path for file in source.files], settings.drops_folder.absolute())
    return store.list_files(key)


def left_aside(key: str, settings: Settings) -> list[str]:
    """The files in the folder of delivery `key` that are left aside, as lines for the terminal."""
    return [
        f"{found.name}: {found.reason}"
        for found in find_deliveries(settings)
        if found.state == "aside" and found.name.startswith(f"{key}/")
    ]


def _register_found(key: str, files: Sequence[ReadFile], settings: Settings, **how: object) -> None:
    store = DropStore(settings.data_root)
    before = store.source(key)
    source = DropSource.of(
        files,
        chunk_length=before.chunk_length if before else settings.chunk_length,
        duplicates=before.duplicates if before else settings.duplicates,
        min_score=before.min_score if before else None,
        per_pair=before.per_pair if before else False,
    ).model_copy(update=how)
    if source != before:
        store.register(key, source)


def _find_delivery(key: str, settings: Settings) -> Delivery:
    store = DropStore(settings.data_root)
    here = [
        found for found in without_rivals(find_deliveries(settings), store) if found.key == check_key(key)
    ]
    whole = next((found for found in here if found.state == "complete"), None)
    if whole is not None:
        return whole
    if here:
        raise InputError(
            settings.drops_folder / here[0].name,
            found=here[0].reason,
            expected="the whole files of reads of a drop",
            advice="`virnucpro drops` shows what arrived; a delivery without reads is an empty file.",
        )
    raise InputError(
        f"drop {key}",
        found=f"no delivery of this name in {settings.drops_folder} and no registered files",
        expected="one of them",
        advice="Copy the read files there, or use `virnucpro predict READS...`.",
    )


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
