"""Deliveries as they lie in the drops folder: names, sizes and times.

Read are sample sheets, and the first bytes of files whose name does not say whether they hold reads. A delivery is

- a sub-folder with files of reads, or with one folder that has them;
- a file of reads, with its mate, directly in the drops folder;
- a sample of a sample sheet, which lies in the drops folder or in one of its sub-folders.

The files that a sheet names belong to its samples and are no deliveries of their own, also if the sheet or the
sample cannot be used. Files without reads are left aside and listed.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.entries import (
    Entries,
    RefusedFileError,
    Stat,
    check_regular,
    has_reads_below,
    holds_reads,
    key_of_anything,
    key_of_file,
    printable,
    read_entries,
    status_inside,
)
from virnucpro_assets.intake.sample_sheet import Sample, is_sample_sheet, names_in, read_sample_sheet
from virnucpro_assets.sequences.read_files import ReadFile, are_one_set, pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import KEY

Kind = Literal["folder", "file", "sample", "sheet", "aside"]

NAMED_ASIDE = 5

_NO_KEY = "a name that no drop can have (1 to 64 letters, digits, '-' and '_', the first a letter or digit)"


@dataclass(frozen=True)
class Found:
    """A delivery as it is in the drops folder; `name` is what a person sees in the drops folder, safe to print.

    `key` is empty for a sheet, and where no drop can have the name. `stats` belong to `files`, in the same order.
    `is_marked` is set if the marker is there and is newer than all files. `pending_because` is a reason to scan again
    later, `rejected_because` one to refuse the delivery, both as what was found ("a folder without files of reads").
    Files without reads are of the kind `aside`, with the reason in `rejected_because`. `sheet` is the path of the
    sheet that names the files.
    """

    name: str
    key: str
    kind: Kind
    files: tuple[ReadFile, ...] = ()
    stats: tuple[Stat, ...] = ()
    is_marked: bool = False
    pending_because: str = ""
    rejected_because: str = ""
    sheet: Path | None = None


def find_deliveries(settings: Settings) -> list[Found]:
    """All deliveries of the drops folder, sorted by name; none if there is no such folder.

    Several may have one key.
    """
    root = settings.drops_folder.absolute()
    if not root.is_dir():
        return []
    return sorted(_DropsFolder(settings, root).deliveries(), key=lambda found: found.name)


class _DropsFolder:
    """The entries of the drops folder and of each of its sub-folders."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._inside = root.resolve()
        self._data_root = settings.data_root.absolute()
        self._dagster_home = (settings.dagster_home or settings.data_root / "dagster").absolute()
        self._top = self._read(root)
        self._folders: list[Entries] = []
        self._unreadable: list[Found] = []
        for path in self._top.folders:
            self._read_folder(path)
        self._unfinished = {
            entries.path / target: name
            for entries in (self._top, *self._folders)
            for target, name in entries.unfinished.items()
        }

    def deliveries(self) -> Iterator[Found]:
        """The deliveries: first those of sheets, because the files that a sheet names are of no other delivery."""
        named: set[Path] = set()
        for entries in (self._top, *self._folders):
            for sheet in list(entries.sheets):
                for found in self._of_sheet(sheet, entries):
                    named.update(file.path for file in found.files)
                    if found.kind == "sheet" and found.rejected_because:
                        named.update(self._held_back(sheet, entries))
                    yield found
        yield from self._unreadable
        of_sheets = {folder for path in named for folder in path.parents}
        for entries in self._folders:
            yield from self._of_folder(entries, named, of_sheets)
        others = {path: seen for path, seen in self._top.files.items() if path not in named}
        yield from self._of_files(dict(self._reads(others, self._top)))
        for name, reason in self._top.rejected.items():
            yield Found(printable(name), "", "file", rejected_because=reason)
        for entries in (self._top, *self._folders):
            if entries.aside:
                yield self._left_aside(entries)

    def _read(self, folder: Path) -> Entries:
        return read_entries(folder, self._inside, self._settings.ready_marker)

    def _read_folder(self, path: Path) -> None:
        found = Found(printable(path.name) + os.sep, self._key(path.name), "folder")
        if path in {self._data_root, self._dagster_home}:
            self._unreadable.append(replace(found, key="", rejected_because="the platform's own data"))
            return
        try:
            self._folders.append(self._read(path))
        except FileNotFoundError:
            self._unreadable.append(replace(found, pending_because="a folder that is being moved"))
        except OSError as error:
            reason = f"a folder that cannot be read ({error.strerror})"
            self._unreadable.append(replace(found, rejected_because=reason))

    def _of_folder(self, entries: Entries, named: set[Path], of_sheets: set[Path]) -> Iterator[Found]:
        raw = entries.path.name
        name = printable(raw) + os.sep
        is_of_sheet = bool(entries.sheets) or entries.path in of_sheets
        if not is_of_sheet:
            self._look_into(entries)
        others = {path: seen for path, seen in entries.files.items() if path not in named}
        others = dict(self._reads(others, entries))
        if is_of_sheet:
            if others:
                first = printable(next(iter(others)).name)
                rejected = f"files that no sample sheet names: {len(others)}, {first} first"
                yield Found(name, "", "folder", rejected_because=rejected)
            return
        rejected = self._rejected_key(raw) or next(iter(entries.rejected.values()), "")
        if not rejected and entries.folders:
            inner = printable(entries.folders[0].name)
            rejected = (
                f"reads in the folder {inner} in it; the reads of a delivery lie in one folder, so move them up, make "
                "deliveries of the folders, or name the files in a sample sheet"
            )
        unfinished = [*entries.unfinished.values(), self._top.unfinished.get(raw, "")]
        pending = (
            _copied(unfinished[0]) if unfinished[0] else "" if others else "a folder without files of reads"
        )
        marker = entries.markers.get("", self._top.markers.get(raw))
        yield _found(
            name, self._key(raw), "folder", others, marker, pending_because=pending, rejected_because=rejected
        )

    def _look_into(self, entries: Entries) -> None:
        """Use the one sub-folder with reads in place of the folder, if no reads lie beside it."""
        while True:
            with_reads = [folder for folder in entries.folders if has_reads_below(folder)]
            entries.aside += [
                f"{folder.name}{os.sep}" for folder in entries.folders if folder not in with_reads
            ]
            entries.folders = with_reads
            if len(with_reads) != 1 or any(map(holds_reads, entries.files)):
                return
            try:
                inner = self._read(with_reads[0])
                if any(map(is_sample_sheet, inner.sheets)):
                    return
            except OSError:
                return
            entries.aside += [f"{with_reads[0].name}{os.sep}{sheet.name}" for sheet in inner.sheets]
            entries.files |= inner.files
            entries.unfinished |= inner.unfinished
            entries.rejected |= inner.rejected
            entries.markers = inner.markers | entries.markers
            entries.folders = inner.folders

    def _reads(self, files: Mapping[Path, Stat], entries: Entries) -> Iterator[tuple[Path, Stat]]:
        """The files that hold reads; the others are added to those left aside."""
        for path, seen in files.items():
            if holds_reads(path):
                yield path, seen
            else:
                entries.aside.append(str(path.relative_to(entries.path)))

    def _of_files(self, files: Mapping[Path, Stat]) -> Iterator[Found]:
        groups: dict[str, dict[Path, Stat]] = defaultdict(dict)
        for path, seen in files.items():
            key = key_of_file(path.name)
            if key is None:
                rejected = "a name without an ending of reads (.fastq.gz, .fa, .bam ...)"
                yield Found(printable(path.name), "", "file", rejected_because=rejected)
            else:
                groups[key][path] = seen
        held = {key_of_anything(target): name for target, name in self._top.unfinished.items()}
        markers = {key_of_anything(name): seen for name, seen in self._top.markers.items()}
        for key, group in groups.items():
            name = " ".join(printable(path.name) for path in group)
            pending = _copied(held[key]) if key in held else ""
            # Names with versions, dates and words of trimmers have dots, and keys have none.
            drop = key.replace(".", "-")
            found = _found(name, self._key(drop), "file", group, markers.get(key), pending_because=pending)
            rejected = self._rejected_key(drop)
            if not rejected and not are_one_set(found.files):
                rejected = f"{len(group)} files of one name that are no pair; they belong in a folder"
            yield replace(found, rejected_because=rejected)
        yield from self._of_unfinished({*groups, *(path.name for path in self._top.folders)})

    def _of_unfinished(self, present: set[str]) -> Iterator[Found]:
        """What still has its temporary name; of hidden files only those that will be reads."""
        for target, name in self._top.unfinished.items():
            is_of_reads = key_of_file(target) is not None or not name.startswith(".")
            if is_of_reads and key_of_anything(target) not in present:
                yield Found(printable(name), "", "file", pending_because=_copied(name))

    def _left_aside(self, entries: Entries) -> Found:
        names = [printable(name) for name in entries.aside[:NAMED_ASIDE]]
        more = len(entries.aside) - len(names)
        shown = ", ".join(names) + (f" and {more} more" if more else "")
        prefix = "" if entries is self._top else printable(entries.path.name) + os.sep
        reason = "left aside, for there are no reads of a sample in it"
        return Found(prefix + shown, "", "aside", rejected_because=reason)

    def _held_back(self, sheet: Path, entries: Entries) -> Iterator[Path]:
        """The files that an unusable sheet may name; all files beside it if it cannot be read."""
        try:
            names = names_in(sheet)
        except OSError:
            yield from entries.files
            return
        for folder in (self._top, *self._folders):
            yield from (path for path in folder.files if path.name in names)

    def _of_sheet(self, sheet: Path, entries: Entries) -> Iterator[Found]:
        name = printable(sheet.relative_to(self._root))
        marker = entries.markers.get(sheet.name)
        if entries is not self._top:
            marker = marker or entries.markers.get("")
        found = _found(name, "", "sheet", {sheet: entries.sheets[sheet]}, marker)
        found = replace(found, sheet=sheet, pending_because=self._pending(sheet))
        try:
            if not is_sample_sheet(sheet):
                entries.aside.append(sheet.name)
                del entries.sheets[sheet]
                return
            samples = read_sample_sheet(sheet)
        except InputError as error:
            yield replace(found, rejected_because=_without_place(error, sheet))
            return
        except OSError as error:
            yield replace(found, rejected_because=f"a file that cannot be read ({error.strerror})")
            return
        yield found if samples else replace(found, pending_because="a sheet without samples")
        for sample in samples:
            yield self._of_sample(sample, found, marker)

    def _of_sample(self, sample: Sample, sheet: Found, marker: Stat | None) -> Found:
        name = f"{sheet.name}, line {sample.line}: {printable(sample.name)}"
        stats: dict[Path, Stat] = {}
        pending = ""
        rejected = (
            _without_place(sample.error, sheet.sheet) if sample.error else self._rejected_key(sample.name)
        )
        inside = None if self._settings.allow_external_sample_paths else self._inside
        for file in sample.files:
            try:
                status = status_inside(file.path, inside)
                check_regular(file.path.name, status)
                stats[file.path] = Stat.of(status)
                pending = pending or self._pending(file.path)
            except FileNotFoundError:
                pending = pending or self._pending(file.path) or f"no file {printable(file.path.name)} yet"
            except RefusedFileError as error:
                rejected = rejected or str(error)
            except OSError as error:
                rejected = rejected or f"{printable(file.path.name)}, which cannot be read ({error.strerror})"
        key, files, marked = self._key(sample.name), tuple(sample.files), _is_marked(marker, stats)
        return Found(
            name, key, "sample", files, tuple(stats.values()), marked, pending, rejected, sheet.sheet
        )

    def _pending(self, path: Path) -> str:
        return _copied(self._unfinished[path]) if path in self._unfinished else ""

    def _key(self, name: str) -> str:
        return "" if self._rejected_key(name) else name

    def _rejected_key(self, name: str) -> str:
        if not KEY.fullmatch(name):
            return _NO_KEY
        try:
            self._settings.check_not_own(name)
        except InputError:
            return "the name of a folder of the platform in the data root"
        return ""


def _found(
    name: str,
    key: str,
    kind: Kind,
    files: Mapping[Path, Stat],
    marker: Stat | None,
    *,
    pending_because: str = "",
    rejected_because: str = "",
) -> Found:
    try:
        reads = tuple(pair_files(list(files)))
    except InputError as error:
        reads, rejected_because = tuple(map(ReadFile, files)), rejected_because or str(error)
    stats, is_marked = tuple(files.values()), _is_marked(marker, files)
    return Found(name, key, kind, reads, stats, is_marked, pending_because, rejected_because)


def _is_marked(marker: Stat | None, files: Mapping[Path, Stat]) -> bool:
    """Whether the marker is newer than all files: it does not apply to a file that came later."""
    return marker is not None and all(marker.changed >= seen.changed for seen in files.values())


def _without_place(error: InputError, sheet: Path | None) -> str:
    """The message without the path before it, which is in the name of the delivery."""
    return str(error).removeprefix(f"{sheet}, ")


def _copied(name: str) -> str:
    return f"{printable(name)}, which is still being copied"
