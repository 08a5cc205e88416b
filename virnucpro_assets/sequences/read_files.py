"""The files of a drop, and which of them hold the two mates of pairs."""

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.errors import InputError

# sample_R1.fastq.gz, sample_2.fa, sample_R2_001.fastq.gz (the last as Illumina's bcl2fastq writes it)
_MATE_IN_NAME = re.compile(r"(?P<before>.+_R?)(?P<mate>[12])(?P<after>(_\d{3})?(\.[^.]+)*)")


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file of reads; `mate` is 0 for single reads, 1 or 2 for the mates of pairs."""

    path: Path
    mate: int = 0


_STREAMS = (Path("/dev/stdin"), Path("/dev/fd"), Path("/proc"))


def require_plain_file(path: Path, expected: str = "a file of reads") -> None:
    """Raise InputError unless `path` is a plain file: what is read here is read more than once, and later again.

    A pipe gives its content once. What stands for a stream of this process, as /dev/stdin, is something else
    in the next one, even where it leads to a plain file.
    """
    found = _what_else(path)
    if found is None:
        return
    is_stream = found not in {"no file", "a folder"}
    raise InputError(
        path,
        found=found,
        expected=expected,
        advice="Write it to a file, and give the path of that."
        if is_stream
        else "Check the path; give the files of a folder one by one.",
    )


def _what_else(path: Path) -> str | None:
    """What is at `path` in place of a plain file, or None."""
    if any(path.absolute().is_relative_to(folder) for folder in _STREAMS):
        return "a stream of this process"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "standard input" if str(path) == "-" else "no file"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "no plain file"


def pair_files(paths: Sequence[Path], *, paired: bool = False) -> list[ReadFile]:
    """Tell single files from mates; the order of `paths` is kept.

    Files of one folder whose names differ only in `_R1`/`_R2` or `_1`/`_2` at the end of the
    stem (`_R1_001.fastq.gz` too) are mates if both are there. With `paired` the names say
    nothing: the first file holds mates 1 of the second, the third those of the fourth, and so
    on; an odd number of files is an InputError, and so is a file that is given twice.
    """
    seen: dict[object, Path] = {}
    for path in paths:
        # By device and inode: a link, or another way to the same file, is the same file.
        status = path.stat() if path.exists() else None
        first = seen.setdefault((status.st_dev, status.st_ino) if status else path.absolute(), path)
        if first is not path:
            raise InputError(
                path,
                found=f"the same file as {first}",
                expected="each file once",
                advice="Give it once; reads that were delivered twice belong in two files.",
            )
    if paired:
        if len(paths) % 2:
            raise InputError(
                paths[-1],
                found=f"the last of {len(paths)} files without a partner",
                expected="files in pairs, mate 1 before mate 2",
                advice="Give the missing file, or give the files as single ones.",
            )
        return [ReadFile(path, 1 + position % 2) for position, path in enumerate(paths)]
    known = set(paths)
    return [ReadFile(path, _mate_by_name(path, known)) for path in paths]


def _mate_by_name(path: Path, known: set[Path]) -> int:
    match = _MATE_IN_NAME.fullmatch(path.name)
    if match is None:
        return 0
    mate = int(match["mate"])
    partner = path.with_name(f"{match['before']}{3 - mate}{match['after']}")
    return mate if partner in known else 0


def without_mate(stem: str) -> str:
    """The stem of a file name without `_R1`, `_2` or `_R2_001` at its end; a name without such a mark as it is."""
    match = _MATE_IN_NAME.fullmatch(stem)
    return match["before"].removesuffix("R").removesuffix("_") if match else stem


def with_mate(name: str, mate: int) -> str:
    """`name/1` or `name/2` for a mate, unless the name ends so already; a single read keeps its name."""
    return f"{name}/{mate}" if mate and name and not name.endswith(f"/{mate}") else name


def first_word(header: str) -> str:
    """The id in a header (without its '>' or '@'); empty if the header is empty or starts with a blank."""
    return header.split(None, 1)[0] if header and not header[0].isspace() else ""
