"""The files that a clean-up may remove: found, with size and reason; nothing is changed.

- quarantined: damaged files that were renamed to `NAME.quarantine-N`
- superseded: shards of another recipe that were renamed to `NAME.superseded-N`
- unfinished: temporary files and folders of killed runs, `NAME.partial-PID-HEX`
- former: generations that are not the current one, once the current one is finished
- embeddings: parts, views and check sample of a finished drop that is older than `keep_embeddings_days`
- standard input: reads that came by it and that no drop is made of any more
- data: all of a finished drop that is older than `keep_drops_days`, but for its records

A drop is finished when its calls are. Its age counts from the end of that stage in its record, or of the last stage
that computed its embeddings, if that is later. A record without a time, by an older version, counts from the time of
its file. Temporary files that no lock protects are judged by their own time: writing one takes moments, so a file that
is a day old is abandoned. Symbolic links are not followed. In the embedding cache only quarantined and unfinished files
are candidates, because the cache limits its own size. In the registry of models they are what killed imports left,
`.NAME.partial-HEX`; unfinished downloads stay, because a fetch continues them.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.errors import counted
from virnucpro_assets.files.atomic import TEMPORARY_MARK
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.check_sample import FILE as CHECK_SAMPLE
from virnucpro_assets.storage.drop_folders import REMOVED_FILE as REMOVED
from virnucpro_assets.storage.merged import VIEW as MERGED
from virnucpro_assets.storage.shards import VIEW as SHARD
from virnucpro_assets.storage.tables import MANIFEST as TABLES
from virnucpro_assets.vocabulary import ENCODER_KINDS

Kind = Literal["quarantined", "superseded", "unfinished", "former", "standard input", "embeddings", "data"]

GENERATION = re.compile(r"[0-9a-f]{12}")
SET_ASIDE = re.compile(r".+\.(quarantine|superseded)-\d+")
SHARD_FOLDER = re.compile(r"rank-\d\d-of-\d\d")
KEPT_OF_DATA = ("drop.toml", REMOVED)
LOCKED = (
    "index",
    "predictions",
    "calls",
    "quarantine",
    "merged.",
    "report.",
    "check_report.",
    "check_sample.",
    *ENCODER_KINDS,
)
RECOMPUTED = (*ENCODER_KINDS, "merge")
"""The stages that a training repeats for a drop whose embeddings were removed."""
ABANDONED_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class CleanupCandidate:
    """One file or folder that may be removed, or all `paths` of a generation that belong together.

    `size` is in bytes; `generation` is the folder whose locks protect the paths, if any do.
    """

    drop: str
    kind: Kind
    paths: tuple[Path, ...]
    size: int
    why: str
    generation: Path | None = None

    @property
    def path(self) -> Path:
        """The path to show: the only one, or the generation."""
        return self.paths[0] if len(self.paths) == 1 or not self.generation else self.generation


class Finder:
    """Finds the candidates of one drop at the time `now`; `links` are symbolic links, which are skipped."""

    def __init__(self, folder: Path, current: str, settings: Settings, now: datetime) -> None:
        self._folder, self._current, self._settings, self._now = folder, current, settings, now
        self.links: list[Path] = []

    def generations(self) -> list[Path]:
        """The folders of the drop's generations."""
        return [
            path for path in self._listed(self._folder) if GENERATION.fullmatch(path.name) and path.is_dir()
        ]

    def beside_generations(self) -> Iterator[CleanupCandidate]:
        """Candidates directly in the folder of a drop, of the registry, or of a model."""
        for path in self._listed(self._folder):
            if TEMPORARY_MARK in path.name and self._is_abandoned(path):
                yield self._one(path, "unfinished", "left by a killed run")
            elif path.name.startswith(("current.toml.superseded-", "source.toml.superseded-")):
                yield self._one(path, "superseded", "of another version, replaced")

    def of_registry(self) -> Iterator[CleanupCandidate]:
        """Candidates in the registry of models, if the folder is that: files of killed imports and checks."""
        for found in self.beside_generations():
            # An import writes into its folder for a long time.
            if all(map(self._is_abandoned, found.path.rglob("*"))):
                yield found
        for path in self._listed(self._folder):
            if path.is_dir() and not path.name.startswith("."):
                yield from Finder(path, "", self._settings, self._now).beside_generations()

    def of_standard_input(self, needed: Collection[Path]) -> Iterator[CleanupCandidate]:
        """Candidates in the folder of kept standard input, if it is that: files that are not `needed` by a drop."""
        for path in self._listed(self._folder):
            if path.absolute() not in needed and self._is_abandoned(path):
                yield self._one(path, "standard input", "no drop is made of it")

    def of_cache(self) -> Iterator[CleanupCandidate]:
        """Candidates in the embedding cache, if the folder is that."""
        yield from self._set_aside(self._folder, self._folder)

    def of_generation(self, generation: Path) -> Iterator[CleanupCandidate]:
        """Candidates of one generation. To remove them, call it while you hold the locks of the generation."""
        finished = self._finished_at(self._folder / self._current)
        if generation.name != self._current:
            if finished:
                yield self._one(
                    generation, "former", f"generation {self._current} took its place", generation
                )
            return
        if kept := self._kept_too_long(finished, self._settings.keep_drops_days):
            paths = [path for path in self._listed(generation) if not _stays(path)]
            if paths:
                yield self._together(paths, "data", f"{kept}, keep_drops_days", generation)
            return
        yield from self._set_aside(generation, generation)
        if kept := self._kept_too_long(finished, self._settings.keep_embeddings_days):
            paths = list(self._embeddings(generation))
            if paths:
                yield self._together(paths, "embeddings", f"{kept}, keep_embeddings_days", generation)

    def _set_aside(self, folder: Path, generation: Path) -> Iterator[CleanupCandidate]:
        for path in self._listed(folder):
            if found := SET_ASIDE.fullmatch(path.name):
                if found[1] == "quarantine":
                    yield self._one(path, "quarantined", "damaged, and made again since", generation)
                else:
                    yield self._one(path, "superseded", "of another recipe, replaced", generation)
            elif TEMPORARY_MARK in path.name:
                is_locked = str(path.relative_to(generation)).startswith(LOCKED)
                if is_locked or self._is_abandoned(path):
                    yield self._one(path, "unfinished", "left by a killed run", generation)
            elif path.is_dir():
                yield from self._set_aside(path, generation)

    def _embeddings(self, generation: Path) -> Iterator[Path]:
        entries = {path.name: path for path in self._listed(generation)}
        yield from (entries[name] for name in (MERGED, CHECK_SAMPLE) if name in entries)
        for kind in ENCODER_KINDS:
            for shard in self._listed(entries[kind]) if kind in entries else ():
                if SHARD_FOLDER.fullmatch(shard.name) and shard.is_dir():
                    for path in self._listed(shard):
                        if path.name == SHARD or (path.name.startswith("part-") and path.suffix == ".h5"):
                            yield path

    def _finished_at(self, generation: Path) -> datetime | None:
        """When the last stage of a generation ended; None if its calls were not made."""
        record = generation / "stages" / "calls.toml"
        if not record.is_file() or not (generation / "calls" / TABLES).is_file():
            return None
        return max(
            read_manifest(stage, StageRecord).ended_at or datetime.fromtimestamp(stage.stat().st_mtime, UTC)
            for stage in (record, *(generation / "stages" / f"{name}.toml" for name in RECOMPUTED))
            if stage.is_file()
        )

    def _kept_too_long(self, finished: datetime | None, days: float | None) -> str:
        if finished is None or days is None or self._now - finished < timedelta(days=days):
            return ""
        return f"finished {counted((self._now - finished).days, 'day')} ago, more than {days:g}"

    def _is_abandoned(self, path: Path) -> bool:
        return self._now.timestamp() - path.lstat().st_mtime > ABANDONED_AFTER.total_seconds()

    def _listed(self, folder: Path) -> list[Path]:
        """The entries of a folder, by name, without symbolic links, which are added to `links`."""
        if not folder.is_dir() or folder.is_symlink():
            return []
        paths = sorted(folder.iterdir())
        self.links += [path for path in paths if path.is_symlink() and path not in self.links]
        return [path for path in paths if not path.is_symlink()]

    def _one(self, path: Path, kind: Kind, why: str, generation: Path | None = None) -> CleanupCandidate:
        return CleanupCandidate(self._folder.name, kind, (path,), size_of(path), why, generation)

    def _together(self, paths: list[Path], kind: Kind, why: str, generation: Path) -> CleanupCandidate:
        return CleanupCandidate(
            self._folder.name, kind, tuple(paths), sum(map(size_of, paths)), why, generation
        )


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files under a folder but its locks; links are not followed."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files if file.suffix != ".lock")


def _stays(path: Path) -> bool:
    return path.name in KEPT_OF_DATA or path.suffix == ".lock"
