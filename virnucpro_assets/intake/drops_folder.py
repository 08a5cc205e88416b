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
from pathlib import Path

from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.intake.deliveries import (
    Delivery,
    copied,
    delivery_of,
    delivery_of_sample,
    delivery_of_sheet,
    rejected_key,
    without_place,
)
from virnucpro_assets.intake.entries import (
    Entries,
    Stat,
    has_reads_below,
    holds_reads,
    key_of_anything,
    key_of_file,
    printable,
    read_entries,
)
from virnucpro_assets.intake.sample_sheet import is_sample_sheet, names_in, read_sample_sheet
from virnucpro_assets.sequences.read_files import are_one_set
from virnucpro_assets.settings import Settings

NAMED_ASIDE = 5


def find_deliveries(settings: Settings) -> list[Delivery]:
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
        self._own = {settings.data_root.absolute(), settings.dagster_folder}
        self._top = self._read(root)
        self._folders: list[Entries] = []
        self._unreadable: list[Delivery] = []
        for path in self._top.folders:
            self._read_folder(path)
        self._unfinished = {
            entries.path / target: name
            for entries in (self._top, *self._folders)
            for target, name in entries.unfinished.items()
        }

    def deliveries(self) -> Iterator[Delivery]:
        """The deliveries: first those of sheets, because the files that a sheet names are of no other delivery."""
        named: set[Path] = set()
        for entries in (self._top, *self._folders):
            for sheet in list(entries.sheets):
                for found in self._of_sheet(sheet, entries):
                    named.update(file.path for file in found.files)
                    if found.is_sheet and found.state == "refused":
                        named.update(self._held_back(sheet, entries))
                    yield found
        yield from self._unreadable
        of_sheets = {folder for path in named for folder in path.parents}
        for entries in self._folders:
            yield from self._of_folder(entries, named, of_sheets)
        others = {path: seen for path, seen in self._top.files.items() if path not in named}
        yield from self._of_files(dict(self._reads(others, self._top)))
        for name, reason in self._top.rejected.items():
            yield Delivery(printable(name), state="refused", reason=reason)
        for entries in (self._top, *self._folders):
            if entries.aside:
                yield self._left_aside(entries)

    def _read(self, folder: Path) -> Entries:
        return read_entries(folder, self._inside, self._settings.ready_marker)

    def _read_folder(self, path: Path) -> None:
        name = printable(path.name) + os.sep
        if path in self._own:
            self._unreadable.append(Delivery(name, state="refused", reason="the platform's own data"))
            return
        found = Delivery(name, "" if rejected_key(path.name, self._settings) else path.name)
        try:
            self._folders.append(self._read(path))
        except FileNotFoundError:
            self._unreadable.append(found.settling("a folder that is being moved"))
        except OSError as error:
            self._unreadable.append(found.refused(f"a folder that cannot be read ({error.strerror})"))

    def _of_folder(self, entries: Entries, named: set[Path], of_sheets: set[Path]) -> Iterator[Delivery]:
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
                reason = f"files that no sample sheet names: {len(others)}, {first} first"
                yield Delivery(name, state="refused", reason=reason)
            return
        rejected = next(iter(entries.rejected.values()), "")
        if not rejected and entries.folders:
            inner = printable(entries.folders[0].name)
            rejected = (
                f"reads in the folder {inner} in it; the reads of a delivery lie in one folder, so move them up, make "
                "deliveries of the folders, or name the files in a sample sheet"
            )
        unfinished = [*entries.unfinished.values(), self._top.unfinished.get(raw, "")]
        pending = copied(unfinished[0]) or ("" if others else "a folder without files of reads")
        marker = entries.markers.get("", self._top.markers.get(raw))
        yield delivery_of(name, raw, others, marker, self._settings, pending=pending, rejected=rejected)

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

    def _of_files(self, files: Mapping[Path, Stat]) -> Iterator[Delivery]:
        groups: dict[str, dict[Path, Stat]] = defaultdict(dict)
        for path, seen in files.items():
            key = key_of_file(path.name)
            if key is None:
                reason = "a name without an ending of reads (.fastq.gz, .fa, .bam ...)"
                yield Delivery(printable(path.name), state="refused", reason=reason)
            else:
                groups[key][path] = seen
        held = {key_of_anything(target): name for target, name in self._top.unfinished.items()}
        markers = {key_of_anything(name): seen for name, seen in self._top.markers.items()}
        for key, group in groups.items():
            name = " ".join(printable(path.name) for path in group)
            # Names with versions, dates and words of trimmers have dots, and keys have none.
            drop = key.replace(".", "-")
            found = delivery_of(
                name, drop, group, markers.get(key), self._settings, pending=copied(held.get(key))
            )
            if found.key and not are_one_set(found.files):
                reason = (
                    f"{counted(len(group), 'file')} of one name that are no pair; they belong in a folder"
                )
                found = found.refused(reason)
            yield found
        yield from self._of_unfinished({*groups, *(path.name for path in self._top.folders)})

    def _of_unfinished(self, present: set[str]) -> Iterator[Delivery]:
        """What still has its temporary name; of hidden files only those that will be reads."""
        for target, name in self._top.unfinished.items():
            is_of_reads = key_of_file(target) is not None or not name.startswith(".")
            if is_of_reads and key_of_anything(target) not in present:
                yield Delivery(printable(name), state="settling", reason=copied(name))

    def _left_aside(self, entries: Entries) -> Delivery:
        names = [printable(name) for name in entries.aside[:NAMED_ASIDE]]
        more = len(entries.aside) - len(names)
        shown = ", ".join(names) + (f" and {more} more" if more else "")
        prefix = "" if entries is self._top else printable(entries.path.name) + os.sep
        reason = "left aside, for there are no reads of a sample in it"
        return Delivery(prefix + shown, state="aside", reason=reason)

    def _held_back(self, sheet: Path, entries: Entries) -> Iterator[Path]:
        """The files that an unusable sheet may name; all files beside it if it cannot be read."""
        try:
            names = names_in(sheet)
        except OSError:
            yield from entries.files
            return
        for folder in (self._top, *self._folders):
            yield from (path for path in folder.files if path.name in names)

    def _of_sheet(self, sheet: Path, entries: Entries) -> Iterator[Delivery]:
        """A sheet, then its samples; nothing of a table that is no sheet."""
        name = printable(sheet.relative_to(self._root))
        marker = entries.markers.get(sheet.name)
        if entries is not self._top:
            marker = marker or entries.markers.get("")
        pending = copied(self._unfinished.get(sheet))
        found = delivery_of_sheet(name, sheet, entries.sheets[sheet], marker, pending)
        try:
            if not is_sample_sheet(sheet):
                entries.aside.append(sheet.name)
                del entries.sheets[sheet]
                return
            samples = read_sample_sheet(sheet)
        except InputError as error:
            yield found.refused(without_place(error, sheet))
            return
        except OSError as error:
            yield found.refused(f"a file that cannot be read ({error.strerror})")
            return
        yield found if samples else found.settling("a sheet without samples")
        inside = None if self._settings.allow_external_sample_paths else self._inside
        for sample in samples:
            yield delivery_of_sample(
                sample,
                found,
                marker,
                inside=inside,
                unfinished=self._unfinished,
                settings=self._settings,
            )
