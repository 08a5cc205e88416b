"""Versions: the classifiers that were trained here, and which of them is in use. No torch here.

Each use of a classifier, for example for chunks of 300 bases, has a folder of its own. In it every classifier is a
folder named by the first 12 digits of its weights' SHA-256, which is also in the predictions; it is written under a
temporary name, renamed in one step, and never changed. `in_use.toml` lists the activations, the latest one last; a
rollback removes the last one. Without an activation the classifier of the settings is in use.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.atomic import sync_folder, temporary_folder
from virnucpro_assets.files.digests import FileRecord, check_file, record_of_file
from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.models.cards import CARD_FILE, ClassifierCard, read_card
from virnucpro_assets.models.folders import WEIGHTS_FILE

IN_USE, VERSION, LOCK = "in_use.toml", "version.toml", "in_use.lock"
CONFIGURED = "configured"
"""The name of the classifier of the settings among the versions."""

NAME = re.compile(r"[0-9a-f]{12}")


class VersionRecord(BaseModel):
    """What a version was made from, when (UTC), whether it passed the check, and its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    made_at: datetime
    training_set: str
    options: dict[str, str]
    accepted: bool
    verdict: str
    files: dict[str, FileRecord]


class Activation(BaseModel):
    """A version that was put into use, or CONFIGURED, and when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    at: datetime


class _InUse(BaseModel):
    history: list[Activation] = []


@dataclass(frozen=True, slots=True)
class Version:
    """A classifier that was trained here."""

    name: str
    path: Path
    record: VersionRecord
    card: ClassifierCard


@dataclass(frozen=True, slots=True)
class ClassifierVersions:
    """The versions for one use, under `root`."""

    root: Path

    def folder_in_use(self) -> Path | None:
        """The folder of the version in use, checked; None if the classifier of the settings is in use.

        Raises IntegrityError if it is missing or damaged: it is never replaced by another one.
        """
        name = self.in_use()
        return None if name == CONFIGURED else self.version(name).path

    def in_use(self) -> str:
        """The name of the version in use, or CONFIGURED."""
        history = self._history()
        return history[-1].version if history else CONFIGURED

    def names(self) -> list[str]:
        """All versions, the oldest first, but damaged ones before the others."""
        if not self.root.is_dir():
            return []
        found = [path.name for path in self.root.iterdir() if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda name: (self._made_at(name), name))

    def version(self, name: str) -> Version:
        """The version of this name, every byte of it checked.

        Raises InputError if there is none, IntegrityError if it is damaged.
        """
        path = self.root / name
        if not NAME.fullmatch(name) or not path.is_dir():
            if name == self.in_use():
                raise IntegrityError(
                    path,
                    found="no folder",
                    expected="the classifier in use",
                    advice="Restore it, or go back to the one before with `virnucpro classifiers back`.",
                )
            raise InputError(
                f"version {name!r}",
                found="no such version",
                expected=", ".join([*self.names(), CONFIGURED]),
                advice="List them with `virnucpro classifiers list`.",
            )
        record = self._record(name)
        for file, expected in record.files.items():
            check_file(path / file, expected, content=True)
        return Version(name, path, record, read_card(path))

    def adding(self) -> AbstractContextManager[Path]:
        """An empty folder for a new version, which `keep` renames; it is removed if it was not kept."""
        return temporary_folder(self.root, ".new")

    def keep(self, folder: Path, record: VersionRecord) -> Version:
        """Make a folder of `adding` the version of its digest; an existing one is kept, as it is the same.

        The files of the record are those in the folder.
        """
        files = {path.name: record_of_file(path) for path in sorted(folder.iterdir())}
        if files[WEIGHTS_FILE].sha256 != record.digest or CARD_FILE not in files:
            raise ValueError(f"{folder} does not contain the classifier {record.digest}")
        target = self.root / record.digest[:12]
        if not target.exists():
            write_manifest(folder / VERSION, record.model_copy(update={"files": files}))
            folder.rename(target)
            sync_folder(self.root)
        return self.version(target.name)

    def use(self, name: str) -> None:
        """Put a version, or CONFIGURED, into use; nothing changes if it is already. Raises as `version` does."""
        if name != CONFIGURED:
            self.version(name)
        with self._locked():
            history = self._history()
            if (history[-1].version if history else CONFIGURED) != name:
                now = datetime.now(UTC).replace(microsecond=0)
                self._write([*history, Activation(version=name, at=now)])

    def rollback(self) -> str:
        """Put the version before into use again, and return its name; InputError if there was none."""
        with self._locked():
            history = self._history()
            if not history:
                raise InputError(
                    self.root / IN_USE,
                    found="no activation before the classifier of the settings",
                    expected="a version that was put into use",
                    advice="Choose one with `virnucpro classifiers use VERSION`.",
                )
            before = history[-2].version if len(history) > 1 else CONFIGURED
            if before != CONFIGURED:
                self.version(before)
            self._write(history[:-1])
        return before

    def _record(self, name: str) -> VersionRecord:
        return read_manifest(self.root / name / VERSION, VersionRecord)

    def _made_at(self, name: str) -> datetime:
        try:
            return self._record(name).made_at
        except IntegrityError:
            # A damaged version must not hide the others; reading it raises the error.
            return datetime.min.replace(tzinfo=UTC)

    def _history(self) -> list[Activation]:
        path = self.root / IN_USE
        return read_manifest(path, _InUse).history if path.exists() else []

    def _write(self, history: list[Activation]) -> None:
        write_manifest(self.root / IN_USE, _InUse(history=history))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.root / LOCK, "the choice of a classifier", "wait"):
            yield
