"""What lies directly in one folder of deliveries, sorted by what the names and kinds mean."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.delivery_names import is_litter, is_of_reads, printable, unfinished_target

SHEET_ENDINGS = (".csv", ".tsv")
LOOKED_AT = 10_000


class RefusedFileError(Exception):
    """A file that no delivery may hold; the message says why, in words that are safe to print."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's size in bytes, and the times of its content and of its inode in nanoseconds."""

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stat":
        """The part of what the system says of a file that is looked at."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass
class Entries:
    """The entries of the folder `path`, each in name order.

    `markers` are by the name that they speak of, empty for the folder itself; `unfinished`
    holds the present name of what is still being copied by its later one; `wrong` the reason
    why an entry is refused by its name; `aside` what is left aside because it holds no reads.
    """

    path: Path
    files: dict[Path, Stat] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    sheets: dict[Path, Stat] = field(default_factory=dict)
    markers: dict[str, Stat] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)


def read_entries(folder: Path, inside: Path, marker: str) -> Entries:
    """The entries of a folder; `marker` is the file name that says that a delivery is complete.

    `inside` is the folder, without links in its path, that no link may lead out of. Raises
    OSError if the folder cannot be read.
    """
    found = Entries(folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not is_litter(entry.name):
                _sort_in(entry, found, inside, marker)
    return found


def holds_reads(path: Path) -> bool:
    """Whether a file is one of reads: by its name, else by its first bytes.

    One that cannot be read or decompressed counts as one, for then whoever reads it whole says why.
    """
    by_name = is_of_reads(path.name)
    if by_name is not None:
        return by_name
    # Here and not above: most files have names that say it.
    from virnucpro_assets.sequences.compression import HEAD_BYTES, open_decompressed  # noqa: PLC0415
    from virnucpro_assets.sequences.formats import Format, format_of  # noqa: PLC0415

    try:
        with open_decompressed(path) as stream:
            head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
    except (InputError, OSError):
        return True
    try:
        return format_of(head, path) is not Format.EMPTY
    except InputError:
        return False


def has_reads_below(folder: Path) -> bool:
    """Whether a file in a folder or in those below it has the name of reads, copied or still being copied.

    So counts a folder that cannot be read or holds more than LOOKED_AT files, too.
    """
    seen = 0
    try:
        for _, _, names in os.walk(folder, onerror=_raise):
            seen += len(names)
            if seen > LOOKED_AT or any(is_of_reads(unfinished_target(name) or name) for name in names):
                return True
    except OSError:
        return True
    return False


def status_inside(path: str | Path, inside: Path | None) -> os.stat_result:
    """What the system says of a file, links followed.

    Raises FileNotFoundError, and RefusedFileError if its true place is not in `inside`.
    """
    real = os.path.realpath(path)
    if inside is not None and not Path(real).is_relative_to(inside):
        raise RefusedFileError(f"{printable(Path(path).name)}, which lies outside the drops folder")
    return os.stat(real)  # noqa: PTH116 (real is a plain string)


def check_regular(name: str, status: os.stat_result) -> None:
    """Raise RefusedFileError if what is called `name` is a folder, a pipe, a socket or a device."""
    if stat.S_ISREG(status.st_mode):
        return
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
    raise RefusedFileError(f"{printable(name)}, no regular file but {kind}")


def _sort_in(entry: os.DirEntry[str], found: Entries, inside: Path, marker: str) -> None:
    name, path = entry.name, found.path / entry.name
    target = unfinished_target(name)
    if target is not None:
        found.unfinished[target] = name
        return
    try:
        status = _status(entry, inside)
        if stat.S_ISDIR(status.st_mode):
            found.folders.append(path)
            return
        check_regular(name, status)
    except FileNotFoundError:
        # It was listed a moment ago, so it is being renamed.
        found.unfinished[name] = name
        return
    except RefusedFileError as error:
        found.wrong[name] = str(error)
        return
    if name == marker or name.endswith(f".{marker}"):
        found.markers[name.removesuffix(marker).removesuffix(".")] = Stat.of(status)
    elif name.lower().endswith(SHEET_ENDINGS):
        found.sheets[path] = Stat.of(status)
    else:
        found.files[path] = Stat.of(status)


def _raise(error: OSError) -> None:
    raise error


def _status(entry: os.DirEntry[str], inside: Path) -> os.stat_result:
    if os.fsencode(entry.name).decode(errors="replace").encode() != os.fsencode(entry.name):
        raise RefusedFileError(f"{printable(entry.name)}, a name with bytes that are no UTF-8")
    if not entry.is_symlink():
        return entry.stat(follow_symlinks=False)
    try:
        return status_inside(entry.path, inside)
    except OSError as error:
        raise RefusedFileError(
            f"{printable(entry.name)}, a symbolic link that leads nowhere ({error.strerror})"
        ) from error
