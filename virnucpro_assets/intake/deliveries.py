"""What a delivery is: its files, its state, and whether its name can be that of a drop."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.entries import RefusedFileError, Stat, check_regular, printable, status_inside
from virnucpro_assets.intake.sample_sheet import Sample
from virnucpro_assets.sequences.read_files import ReadFile, pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import KEY

State = Literal["complete", "settling", "ready", "changed", "known", "refused", "aside"]

_NO_KEY = "a name that no drop can have (1 to 64 letters, digits, '-' and '_', the first a letter or digit)"


@dataclass(frozen=True)
class Delivery:
    """A delivery in the drops folder and its state; `name` and `reason` are safe to print.

    In the drops folder it is `complete`, `settling`, `refused` or `aside` (files without reads). A scan (scan.py) finds
    out what a complete one is: still `settling`, `ready` to become a new drop, `changed` (a new generation of a drop),
    or `known` (a drop already and unchanged). `reason` says why it is settling, refused or left aside, as what was
    found ("a folder without files of reads").

    `key` is empty for a sheet, whose samples are deliveries, and where no drop can have the name. `stats` belong to
    `files`, in the same order. `is_marked` is set if the marker is there and is newer than all files. `sheet` is the
    path of the sheet that names the files.
    """

    name: str
    key: str = ""
    state: State = "complete"
    reason: str = ""
    files: tuple[ReadFile, ...] = ()
    stats: tuple[Stat, ...] = ()
    is_marked: bool = False
    is_sheet: bool = False
    sheet: Path | None = None

    @property
    def seen(self) -> str:
        """The fingerprint of its files: a hash of paths, mates, sizes and times; 16 hexadecimal digits."""
        lines = (
            f"{file.path}\0{file.mate}\0{stat.size}\0{stat.modified}\0{stat.changed}\n"
            for file, stat in zip(self.files, self.stats, strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def refused(self, reason: str) -> "Delivery":
        """The same delivery, refused."""
        return replace(self, state="refused", reason=reason)

    def settling(self, reason: str) -> "Delivery":
        """The same delivery, to be looked at again later."""
        return replace(self, state="settling", reason=reason)


def delivery_of(
    name: str,
    drop: str,
    files: Mapping[Path, Stat],
    marker: Stat | None,
    settings: Settings,
    *,
    pending: str = "",
    rejected: str = "",
) -> Delivery:
    """A delivery of these files that is to become this drop; refused if no drop can have the name.

    `pending` is a reason to look again later, `rejected` another one to refuse it.
    """
    wrong = rejected_key(drop, settings)
    rejected = wrong or rejected
    try:
        reads = tuple(pair_files(list(files)))
    except InputError as error:
        reads, rejected = tuple(map(ReadFile, files)), rejected or str(error)
    return Delivery(
        name,
        "" if wrong else drop,
        *_state(rejected, pending),
        reads,
        tuple(files.values()),
        _is_marked(marker, files),
    )


def delivery_of_sheet(name: str, sheet: Path, stat: Stat, marker: Stat | None, pending: str) -> Delivery:
    """A sample sheet, whose samples are deliveries of their own."""
    return Delivery(
        name,
        "",
        *_state("", pending),
        (ReadFile(sheet),),
        (stat,),
        _is_marked(marker, {sheet: stat}),
        is_sheet=True,
        sheet=sheet,
    )


def delivery_of_sample(
    sample: Sample,
    sheet: Delivery,
    marker: Stat | None,
    *,
    inside: Path | None,
    unfinished: Mapping[Path, str],
    settings: Settings,
) -> Delivery:
    """A sample of a sheet. Its files must lie in `inside`, if that is given.

    `unfinished` has the present names of files that are still being copied, by their final paths.
    """
    wrong = rejected_key(sample.name, settings)
    rejected = without_place(sample.error, sheet.sheet) if sample.error else wrong
    stats: dict[Path, Stat] = {}
    pending = ""
    for file in sample.files:
        shown = printable(file.path.name)
        try:
            status = status_inside(file.path, inside)
            check_regular(file.path.name, status)
            stats[file.path] = Stat.of(status)
            pending = pending or copied(unfinished.get(file.path))
        except FileNotFoundError:
            pending = pending or copied(unfinished.get(file.path)) or f"no file {shown} yet"
        except RefusedFileError as error:
            rejected = rejected or str(error)
        except OSError as error:
            rejected = rejected or f"{shown}, which cannot be read ({error.strerror})"
    return Delivery(
        f"{sheet.name}, line {sample.line}: {printable(sample.name)}",
        "" if wrong else sample.name,
        *_state(rejected, pending),
        tuple(sample.files),
        tuple(stats.values()),
        _is_marked(marker, stats),
        sheet=sheet.sheet,
    )


def _state(rejected: str, pending: str) -> tuple[State, str]:
    if rejected:
        return "refused", rejected
    return ("settling", pending) if pending else ("complete", "")


def _is_marked(marker: Stat | None, files: Mapping[Path, Stat]) -> bool:
    """Whether the marker is newer than all files: it does not apply to a file that came later."""
    return marker is not None and all(marker.changed >= seen.changed for seen in files.values())


def rejected_key(name: str, settings: Settings) -> str:
    """Why no drop can have this name; empty if one can."""
    if not KEY.fullmatch(name):
        return _NO_KEY
    try:
        settings.check_not_own(name)
    except InputError:
        return "the name of a folder of the platform in the data root"
    return ""


def without_place(error: InputError, sheet: Path | None) -> str:
    """The message of an error without the path before it, which is in the name of the delivery."""
    return str(error).removeprefix(f"{sheet}, ")


def copied(name: str | None) -> str:
    """The reason to wait for what still has this temporary name; empty without one."""
    return f"{printable(name)}, which is still being copied" if name else ""
