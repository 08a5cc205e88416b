"""The entries of one folder of deliveries, sorted by what their names and kinds mean.

A name says whether a file holds reads, which drop it belongs to, whether it is still being copied, or whether it is
litter. Only files whose name does not show it are opened, for their first bytes.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.formats import COMPRESSED, ENDINGS
from virnucpro_assets.sequences.read_files import without_mate

SHEET_ENDINGS = (".csv", ".tsv")
# Of a folder with more files than this, it is not checked whether one of them has the name of reads.
LOOKED_AT = 10_000
PRINTED_LETTERS = 80

_PACKED = tuple(f".{ending}" for ending in COMPRESSED)
_READS = tuple(f".{ending}" for ending in ENDINGS)

# What browsers, WinSCP, rclone, aria2, gsutil and others add to a name while they copy.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".aria2", "~")
# rsync's .NAME.x7Gh2k, with its own folder for delayed updates; lftp's .in.NAME.
_HIDDEN = re.compile(r"\.(?:in\.)?(?P<name>.+?)(?:\.[A-Za-z0-9]{6}|\.)?")
# NAME.fastq.gz.6eF78aBc, as the AWS command line writes.
_NUMBERED = re.compile(rf"(?P<name>.+\.(?:{'|'.join((*COMPRESSED, *ENDINGS))}))\.[0-9A-Fa-f]{{8}}")
# Reads of the indices by which bcl2fastq tells samples apart.
_INDEX_READS = re.compile(r".+_S\d+(_L\d{3})?_I[12]_\d{3}")
# What holds reads in a form that is refused with advice.
_OTHER_READS = re.compile(r".+\.(sam|cram|sra|tar|tgz|7z|rar)(\.(gz|zst|bz2|xz))?", re.IGNORECASE)
# Left behind by desktops for good, so nothing may wait for it.
_LITTER = re.compile(r"\._.*|\.DS_Store|\.localized|\.directory|\.Trash.*|\.gitkeep|\.snapshot", re.DOTALL)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name belongs to a desktop and is ignored."""
    return _LITTER.fullmatch(name) is not None


def unfinished_target(name: str) -> str | None:
    """The final name of a file or folder whose name says that it is still being copied, else None.

    Every name that starts with a dot does, except litter.
    """
    for ending in _UNFINISHED:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)].lstrip(".")
    match = _HIDDEN.fullmatch(name) if name.startswith(".") else _NUMBERED.fullmatch(name)
    return match["name"] if match else None


def key_of_file(name: str) -> str | None:
    """The name of a read file without its endings, the mark of a mate and what trimmers write after it.

    None without such endings. Nothing else of the name is changed, so it may be no key.
    """
    stem = _without(name, _PACKED)
    reads = _without(stem, _READS)
    if reads == stem:
        return None
    return without_mate(reads)


def is_of_reads(name: str) -> bool | None:
    """Whether a file of this name holds reads of a sample, in whatever form; None if only its content shows it."""
    key = key_of_file(name)
    if key is not None:
        return _INDEX_READS.fullmatch(key) is None
    return True if _OTHER_READS.fullmatch(name) else None


def key_of_anything(name: str) -> str:
    """As key_of_file; a name without such endings, as that of a folder, is returned as it is."""
    return key_of_file(name) or name


def printable(name: str | PurePath) -> str:
    """A name as it may be shown: control characters and other odd ones escaped, cut at 80 letters."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
    return shown if len(shown) <= PRINTED_LETTERS else shown[: PRINTED_LETTERS - 1] + "…"


def _without(name: str, endings: tuple[str, ...]) -> str:
    ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


class RefusedFileError(Exception):
    """A file that no delivery may hold; the message has the reason and is safe to print."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's size in bytes, and the times of its content and of its inode in nanoseconds."""

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stat":
        """The size and the times in `status`."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass
class Entries:
    """The entries of the folder `path`, each in name order.

    `markers` is by the name of the file or folder that is complete, empty for the folder itself; `unfinished` maps the
    final name of what is still being copied to its present one; `rejected` maps a name to the reason why it is
    refused; `aside` has the names of what holds no reads.
    """

    path: Path
    files: dict[Path, Stat] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    sheets: dict[Path, Stat] = field(default_factory=dict)
    markers: dict[str, Stat] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)


def read_entries(folder: Path, inside: Path, marker: str) -> Entries:
    """The entries of a folder; `marker` is the file name that marks a delivery as complete.

    No link may lead out of `inside`, a path without links. Raises OSError if the folder cannot be read.
    """
    found = Entries(folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not is_litter(entry.name):
                _sort_in(entry, found, inside, marker)
    return found


def holds_reads(path: Path) -> bool:
    """Whether a file is one of reads: by its name, else by its first bytes.

    A file that cannot be read or decompressed counts as one: reading it whole gives the error.
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

    True also for a folder that cannot be read or has more than LOOKED_AT files.
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
    """The status of a file, links followed.

    Raises FileNotFoundError, and RefusedFileError if the real path is not in `inside`.
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
        found.rejected[name] = str(error)
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
