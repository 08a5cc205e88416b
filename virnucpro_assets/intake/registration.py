"""From files to a listed drop: who belongs to it, and what exactly was delivered."""

from collections.abc import Sequence
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.checksums import check_listed
from virnucpro_assets.intake.deliveries import Delivery, only_owners
from virnucpro_assets.intake.delivery_names import key_of_file
from virnucpro_assets.intake.drops_folder import Found, look
from virnucpro_assets.intake.other_versions import set_aside_other_versions
from virnucpro_assets.sequences.names import DuplicatePolicy
from virnucpro_assets.sequences.read_files import ReadFile, require_plain_file, without_mate
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DeliveryMark, DropManifest, DropSource, DropStore, check_key
from virnucpro_assets.vocabulary import Label


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
    label: Label | None = None,
    replace: bool = False,
) -> None:
    """Say that `files` make up drop `key`; `label` is their class if they are to teach a classifier.

    With `replace` what another version wrote of the drop is set aside. Raises InputError for what is no
    plain file, and for a drop that was made from other files or with
    other options unless `replace` is set. A drop that never got an index, because its files were
    wrong for example, is registered anew.
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
    """Say that a delivery that a scan found `ready` or `changed` makes up the drop of its key.

    The drop is made of exactly the files that settled, until a later scan finds that they
    changed. To register it twice changes nothing.
    """
    mark = DeliveryMark(seen=delivery.seen, content=delivery.content)
    _register_found(delivery.key, delivery.files, settings, delivery=mark)


def check_arrived(key: str, settings: Settings) -> None:
    """Raise InputError unless drop `key` is registered, or a whole delivery of that name is there."""
    source = DropStore(settings.data_root).source(key)
    if source is None or source.follows_delivery:
        _find_delivery(key, settings)


def list_drop(key: str, settings: Settings) -> DropManifest:
    """Digest the files of a drop and make the result its current generation.

    A drop that nobody registered is looked for among the deliveries, as it lies there, and that
    delivery is looked at again each time: what came later or went belongs to the next
    generation. Raises InputError if there is no such delivery, if it cannot be a drop, or if a list of checksums
    in it says that a file is another.
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
    """What lies in the folder of delivery `key` and is left aside, in words for the terminal."""
    return [
        f"{found.name}: {found.wrong}"
        for found in look(settings)
        if found.kind == "aside" and found.name.startswith(f"{key}/")
    ]


def _register_found(key: str, files: Sequence[ReadFile], settings: Settings, **how: object) -> None:
    store = DropStore(settings.data_root)
    before = store.source(key)
    source = DropSource.of(
        files,
        chunk_length=before.chunk_length if before else settings.chunk_length,
        duplicates=before.duplicates if before else settings.duplicates,
        min_score=before.min_score if before else None,
    ).model_copy(update=how)
    if source != before:
        store.register(key, source)


def _find_delivery(key: str, settings: Settings) -> Found:
    store = DropStore(settings.data_root)
    here = [found for found in only_owners(look(settings), store) if found.key == check_key(key)]
    whole = next((found for found in here if not found.wrong and not found.waits), None)
    if whole is not None:
        return whole
    if here:
        raise InputError(
            settings.drops_folder / here[0].name,
            found=here[0].wrong or here[0].waits,
            expected="the whole files of reads of a drop",
            advice="`virnucpro drops` shows what arrived; a delivery without reads is an empty file.",
        )
    raise InputError(
        f"drop {key}",
        found=f"no delivery of this name in {settings.drops_folder} and no registered files",
        expected="one of them",
        advice="Copy the read files there, or use `virnucpro predict READS...`.",
    )
