"""From files to a listed drop: who belongs to it, and what exactly was delivered."""

from collections.abc import Sequence
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.names import DuplicatePolicy
from virnucpro_assets.sequences.read_files import ReadFile, pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropManifest, DropSource, DropStore, check_key


def key_from_name(path: Path) -> str:
    """A drop key from the name of a read file: what stands before its endings, other letters as '-'."""
    stem = path.name.split(".")[0]
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
    replace: bool = False,
) -> None:
    """Say that `files` make up drop `key`.

    Raises InputError for a missing file, and for a drop that was made from other files or with
    other options unless `replace` is set. A drop that never got an index, because its files were
    wrong for example, is registered anew.
    """
    store = DropStore(settings.data_root)
    for file in files:
        if not file.path.is_file():
            raise InputError(
                file.path,
                found="a folder" if file.path.is_dir() else "no file",
                expected="a file of reads",
                advice="Check the path; give the files of a folder one by one.",
            )
    before = store.source(key)
    after = DropSource.of(
        files,
        chunk_length=chunk_length or settings.chunk_length,
        duplicates=duplicates or settings.duplicates,
        min_score=min_score,
    )
    if before is not None and not before.same_reads(after) and not replace and store.is_indexed(key):
        raise InputError(
            f"drop {key}",
            found="another drop of this name with other files or options",
            expected="a new name or the same files",
            advice="Choose another name (--name), or replace the drop (--replace).",
        )
    store.register(key, after)


def check_arrived(key: str, settings: Settings) -> None:
    """Raise InputError unless the files of drop `key` are registered, or its folder in the drops folder is there."""
    arrived = settings.drops_folder / check_key(key)
    source = DropStore(settings.data_root).source(key)
    if (source is None or source.whole_folder) and not arrived.is_dir():
        raise InputError(
            f"drop {key}",
            found=f"no folder {arrived} and no registered files",
            expected="one of them",
            advice="Copy the read files there, or use `virnucpro predict READS...`.",
        )


def list_drop(key: str, settings: Settings) -> DropManifest:
    """Digest the files of a drop and make the result its current generation.

    A drop that nobody registered is looked for as a sub-folder of the drops folder, and that
    folder is looked through again each time: what came later or went belongs to the next
    generation. Raises InputError if there is no such folder, or no file in it.
    """
    check_arrived(key, settings)
    store = DropStore(settings.data_root)
    before = store.source(key)
    if before is None or before.whole_folder:
        arrived = settings.drops_folder / key
        paths = sorted(path for path in arrived.iterdir() if path.is_file() and not path.name.startswith("."))
        if not paths:
            raise InputError(
                arrived,
                found="a folder without files",
                expected="the read files of the drop",
                advice="Copy them there; a delivery without reads is an empty file.",
            )
        found = DropSource.of(
            pair_files(paths),
            chunk_length=before.chunk_length if before else settings.chunk_length,
            duplicates=before.duplicates if before else settings.duplicates,
        )
        store.register(key, found.model_copy(update={"whole_folder": True}))
    return store.list_files(key)
