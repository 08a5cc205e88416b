"""Drops: deliveries of read files, and the folders with everything made from them.

The store's root has a folder per drop key. In it `source.toml` lists the files of the drop and how they are cut into
chunks; `current.toml` names the current generation; and each generation, named by the first 12 digits of the drop's
digest, contains what was made from exactly those files. Changed files make a new generation; the old one is not
touched.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import InputError, IntegrityError, counted
from virnucpro_assets.files.digests import (
    FileRecord,
    check_file,
    digest_of_files,
    is_unchanged,
    record_of_file,
    stamp_of,
)
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drop_sources import DropSource

REGISTER_AGAIN = "Register the drop's files again: virnucpro predict READS... --out DIR --name DROP --replace"
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class DropManifest(BaseModel):
    """A generation of a drop: its source and each file's size and SHA-256, in the same order.

    `listed_at` is the time when its files were first listed (UTC), `stamps` are the stamps of the files when they were
    digested; records of older versions have neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    digest: str
    source: DropSource
    records: list[FileRecord] = []
    listed_at: datetime | None = None
    stamps: list[str] = []

    @property
    def generation(self) -> str:
        return self.digest[:12]

    @property
    def read_files(self) -> list[ReadFile]:
        return [ReadFile(file.path, file.mate) for file in self.source.files]

    def check_files(self) -> None:
        """Raise IntegrityError if a file has changed since the drop was listed.

        Only files whose stamp has changed are read.
        """
        for path, record, stamp in self._listed:
            if not is_unchanged(path, stamp):
                check_file(path, record, content=True)

    def record_of(self, path: Path) -> tuple[FileRecord, str]:
        """The record of a file and its stamp: the listed ones if it is unchanged, else of a new digest."""
        for listed, record, stamp in self._listed:
            if listed == path and is_unchanged(path, stamp):
                return record, stamp
        return _digested(path)

    @property
    def _listed(self) -> Iterator[tuple[Path, FileRecord, str]]:
        stamps = self.stamps or [""] * len(self.records)
        paths = [file.path for file in self.source.files]
        return zip(paths, self.records, stamps, strict=True)


class CurrentGeneration(BaseModel):
    digest: str


class DropStore:
    """All drops under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self) -> list[str]:
        """The keys of all registered drops, sorted."""
        # A folder that is being removed has a name that is not a valid key.
        keys = (path.parent.name for path in self.root.glob("*/source.toml"))
        return sorted(key for key in keys if KEY.fullmatch(key))

    def is_training_drop(self, key: str) -> bool:
        """Whether drop `key` was registered for training a classifier."""
        source = self.source(key)
        return source is not None and source.label is not None

    def register(self, key: str, source: DropSource) -> None:
        """Store the files of drop `key`; replaces an earlier registration."""
        write_manifest(self.root / check_key(key) / "source.toml", source)

    def source(self, key: str) -> DropSource | None:
        """The registration of drop `key`, None if there is none."""
        path = self.root / check_key(key) / "source.toml"
        return read_manifest(path, DropSource, repair=REGISTER_AGAIN) if path.exists() else None

    def list_files(self, key: str) -> DropManifest:
        """Digest the files of a registered drop and make the result its current generation.

        Files that are unchanged since they were listed before are not read. Raises InputError if a file is missing.
        """
        source = read_manifest(self.root / check_key(key) / "source.toml", DropSource, repair=REGISTER_AGAIN)
        for file in source.files:
            if not file.path.is_file():
                raise InputError(
                    file.path,
                    found="no file",
                    expected=f"a file of reads of drop {key}",
                    advice="Put it back, or replace the drop (virnucpro predict READS... --replace).",
                )
        former = self._former(key)
        listed = [former.record_of(file.path) if former else _digested(file.path) for file in source.files]
        records = [record for record, _ in listed]
        digest = digest_of_files(
            [(file.path.name, record.sha256) for file, record in zip(source.files, records, strict=True)]
        )
        path = self.root / key / digest[:12] / "drop.toml"
        manifest = DropManifest(
            key=key,
            digest=digest,
            source=source,
            records=records,
            listed_at=_first_listed(path),
            stamps=[stamp for _, stamp in listed],
        )
        write_manifest(path, manifest)
        write_manifest(self.root / key / "current.toml", CurrentGeneration(digest=digest))
        return manifest

    def restore(self, key: str, source: DropSource, digest: str) -> None:
        """Restore an earlier source of drop `key`, and its generation with this digest if it had one."""
        self.register(key, source)
        if digest:
            write_manifest(self.root / key / "current.toml", CurrentGeneration(digest=digest))

    def _former(self, key: str) -> DropManifest | None:
        """The current generation of a drop, None if it was never listed or cannot be read."""
        try:
            return self.current(key)[0] if self.was_listed(key) else None
        except IntegrityError:
            # The new list replaces it.
            return None

    def was_listed(self, key: str) -> bool:
        """Whether drop `key` has a current generation."""
        return (self.root / check_key(key) / "current.toml").exists()

    def is_listed(self, key: str) -> bool:
        """Whether the current generation of drop `key` was listed from its present registration."""
        return self.was_listed(key) and self.current(key)[0].source == self.source(key)

    def is_indexed(self, key: str) -> bool:
        """Whether the registered files of drop `key` were read completely."""
        if not self.was_listed(key):
            return False
        (drop, folder), registered = self.current(key), self.source(key)
        is_current = registered is not None and drop.source.same_reads(registered)
        return is_current and folder.is_indexed

    def current(self, key: str) -> tuple[DropManifest, DropFolder]:
        """The current generation of drop `key`; InputError if its files were never listed."""
        if not self.was_listed(key):
            raise InputError(
                f"drop {key}",
                found="no such drop, or one whose files were never listed",
                expected="a drop that `virnucpro drops` shows",
                advice=f"Check the name, or run `virnucpro materialize {key}`.",
            )
        digest = read_manifest(self.root / key / "current.toml", CurrentGeneration).digest
        folder = DropFolder(self.root / key / digest[:12])
        manifest = read_manifest(folder.manifest, DropManifest)
        if manifest.digest != digest:
            raise IntegrityError(
                folder.manifest,
                found=f"digest {manifest.digest}",
                expected=f"{digest}",
                advice="List its files again.",
            )
        return manifest, folder


def _digested(path: Path) -> tuple[FileRecord, str]:
    # The stamp first: a change while the file is read changes the stamp.
    stamp = stamp_of(path)
    return record_of_file(path), stamp


def _first_listed(path: Path) -> datetime:
    """The time when the files of the generation recorded at `path` were first listed; now if they were not."""
    try:
        former = read_manifest(path, DropManifest).listed_at if path.exists() else None
    except IntegrityError:
        # The record is rewritten next, which repairs it.
        former = None
    return former or datetime.now(UTC).replace(microsecond=0)


def check_key(key: str) -> str:
    """Return `key` if it is a valid name of a drop, else raise InputError: it becomes a folder and a partition."""
    if not KEY.fullmatch(key):
        raise InputError(
            "drop key",
            where=repr(key[:80]),
            found=f"a name of {counted(len(key), 'character')} that does not fit",
            expected="1 to 64 letters, digits, '-' or '_', the first a letter or digit",
            advice="Choose another name.",
        )
    return key
