"""The files of a drop, and which of them have the two mates of pairs."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from virnucpro_assets.errors import InputError, counted

INTERLEAVED = 3
"""The `mate` of a file with pairs: mate 1 of the first, mate 2 of the first, mate 1 of the second, and so on."""

# The marks of a mate in a file's name, {n} for which of the two. The first that fits counts.
_MARKS = (
    (r"[._-]R?{n}(?:_\d{{3}})?[._-](?:val|unpaired)_{n}", "1", "2"),  # Trim Galore: s_R1_val_1, s_1_val_1
    (r"[._-](?:val|unpaired)_{n}", "1", "2"),  # Trim Galore --basename: s_val_1
    (r"(?:[._-]|^)R{n}", "1", "2"),  # bcl2fastq: s_S1_L001_R1_001; fastp: s.R1; also s-R1, s_r1, R1
    (r"_{n}[PU]", "1", "2"),  # Trimmomatic -baseout: s_1P, s_1U
    (r"(?:[._-]|^)(?:read|mate|end)[._-]?{n}", "1", "2"),  # s_read1, s_mate_1
    (r"(?<=.)[._]{n}", "1", "2"),  # SRA, ENA: s_1; cutadapt: s.1
    (r"(?:(?<=read)|(?<=reads)|(?<=clean)|(?<=trimmed)|(?<=out)){n}", "1", "2"),  # BBTools: clean1, read1
    (r"(?:[._-]|^){n}", "forward", "reverse"),  # Trimmomatic's manual: s_forward_paired; QIIME: forward
    (r"(?:[._-]|^){n}", "fwd", "rev"),
)
# What follows a mark: a lane, bcl2fastq's number of the piece, words of trimmers, more endings.
_WORDS = (
    "trimmed|trim|paired|unpaired|clean|cleaned|filtered|filt|fastp|cutadapt|trimmomatic|bbduk|sequence|qc|"
    "dedup|nohost|host_removed|unmapped|kneaddata"
)
_TAIL = rf"(?P<lane>_L\d{{3}})?(?:_\d{{3}})?(?:[._-](?:{_WORDS}))*(?P<rest>(?:\.[^.]+)*)"
_NAMES = tuple(
    (
        mate,
        which,
        re.compile(rf"(?P<before>.*)(?P<mark>{mark.format(n=which)})(?P<tail>{_TAIL})", re.IGNORECASE),
    )
    for mark, *both in _MARKS
    for mate, which in enumerate(both, 1)
)
_COMPRESSION = re.compile(r"\.(gz|bgz|zst|zstd|bz2|xz)", re.IGNORECASE)
_INTERLEAVED_NAME = re.compile(r"(.*[._-])?interleaved([._-].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file of reads; `mate` is 0 for single reads, 1 or 2 for the mates of pairs, or INTERLEAVED."""

    path: Path
    mate: int = 0


def pair_files(paths: Sequence[Path], *, paired: bool = False, interleaved: bool = False) -> list[ReadFile]:
    """Find the mates among files; the order of `paths` is kept.

    Two files whose names differ only in the mark of a mate (`s_R1.fq.gz` and `s_R2.fq.gz`; see _MARKS) are mates:
    first those of one folder, then those of two folders if only they have these names. A file with the word
    `interleaved` in its name is interleaved. With `paired` or `interleaved` the names are ignored: the first and second
    file are mates 1 and 2, the third and fourth too, and so on; or each file is interleaved. Raises InputError for an
    odd number of files with `paired`, for both options together, and for a file that is given twice.
    """
    seen: dict[object, Path] = {}
    for path in paths:
        # By device and inode: a link, or another path to the same file, is the same file.
        first = seen.setdefault(_identity(path), path)
        if first is not path:
            raise InputError(
                path,
                found=f"the same file as {first}",
                expected="each file once",
                advice="Give it once; reads that were delivered twice belong in two files.",
            )
    if paired and interleaved:
        raise InputError(
            "options",
            found="--paired and --interleaved",
            expected="one of them at most",
            advice="--paired is for mates in two files, --interleaved for alternating mates in one.",
        )
    if paired and len(paths) % 2:
        raise InputError(
            paths[-1],
            found=f"the last of {counted(len(paths), 'file')} without a partner",
            expected="files in pairs, mate 1 before mate 2",
            advice="Give the missing file, or give the files as single ones.",
        )
    if paired:
        return [ReadFile(path, 1 + position % 2) for position, path in enumerate(paths)]
    if interleaved:
        return [ReadFile(path, INTERLEAVED) for path in paths]
    mates = _mates_by_name(paths)
    return [
        ReadFile(path, mates.get(path) or (INTERLEAVED if _INTERLEAVED_NAME.fullmatch(path.name) else 0))
        for path in paths
    ]


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        # Reading the file gives the error.
        return path.absolute()
    return status.st_dev, status.st_ino


def _mates_by_name(paths: Sequence[Path]) -> dict[Path, int]:
    """The mate of each file whose partner is among `paths`."""
    marked = {path: _mark_of(path.name) for path in paths}
    mates: dict[Path, int] = {}
    # First partners in the same folder, then those that differ in compression too, then those in other folders.
    for has_folder, has_compression in ((True, True), (True, False), (False, False)):
        groups: dict[tuple[Path | str | None, ...], list[Path]] = defaultdict(list)
        for path, mark in marked.items():
            if mark is not None and path not in mates:
                name = (
                    mark.name if has_compression else tuple(_COMPRESSION.sub("", part) for part in mark.name)
                )
                folder = Path(os.path.normpath(path.absolute())).parent if has_folder else None
                groups[folder, *name].append(path)
        for group in groups.values():
            found = {path: mark.mate for path in group if (mark := marked[path])}
            if sorted(found.values()) == [1, 2]:
                mates |= found
    return mates


@dataclass(frozen=True, slots=True)
class _Mark:
    """The mark of a mate in a name: `name` is equal for both mates, `rest` is the name without the mark."""

    mate: int
    name: tuple[str, ...]
    rest: str

    @property
    def is_unpaired(self) -> bool:
        """Whether trimmers use such a name for reads without their mates."""
        return self.name[1].endswith("#u") or "unpaired" in "".join(self.name[1:])


@lru_cache(maxsize=16_384)
def _mark_of(name: str) -> _Mark | None:
    for mate, which, pattern in _NAMES:
        if match := pattern.fullmatch(name):
            mark = re.sub(rf"(?<!\d){which}(?!\d)", "#", match["mark"].lower())
            rest = match["before"] + (match["lane"] or "") + match["rest"]
            return _Mark(mate, (match["before"], mark, match["tail"]), rest)
    return None


def without_mate(stem: str) -> str:
    """The stem of a file name, without the mark of a mate and the words of trimmers after it if there is one.

    `reads` if nothing is left.
    """
    mark = _mark_of(stem)
    return (mark.rest or "reads") if mark else stem


def are_one_set(files: Sequence[ReadFile]) -> bool:
    """Whether the files of one sample are a single file or a pair, with or without files of reads without their mates.

    Beside `s_1.fq` and `s_2.fq` ENA has `s.fq`, and beside `s_1P.fq` and `s_2P.fq` Trimmomatic `s_1U.fq` and `s_2U.fq`.
    """
    marks = [
        mark for file in files if file.mate and (mark := _mark_of(file.path.name)) and not mark.is_unpaired
    ]
    beside = {mark.name[0] + mark.name[2] for mark in marks}
    others = [file.path.name for file in files if not file.mate]
    lost = [name for name in others if name in beside or ((mark := _mark_of(name)) and mark.is_unpaired)]
    return len(files) == 1 or (len(marks) in {0, 2} and lost == others)


def with_mate(name: str, mate: int) -> str:
    """`name/1` or `name/2` for a mate, unless the name already ends like that; a single read keeps its name."""
    return f"{name}/{mate}" if mate and name and not name.endswith(f"/{mate}") else name


def with_mates(file: ReadFile, position: int, names: list[str], before: str) -> list[str]:
    """The names of records of a file with the suffixes of mates; the first is record `position` (from 0).

    `before` is the name of the record before them. Raises InputError if the file is interleaved and two records
    that should be mates have different names.
    """
    if file.mate != INTERLEAVED:
        return [with_mate(name, file.mate) for name in names] if file.mate else names
    for number, name in enumerate(names, position):
        if number % 2 and without_suffix(name) != without_suffix(before):
            raise _no_mates(file.path, number, f"the read {name!r} after {before!r}")
        before = name
    return [
        name if without_suffix(name) != name else with_mate(name, 1 + number % 2)
        for number, name in enumerate(names, position)
    ]


def check_whole_pairs(file: ReadFile, count: int) -> None:
    """Raise InputError if a file of `count` records is interleaved and its last record has no mate."""
    if file.mate == INTERLEAVED and count % 2:
        raise _no_mates(file.path, count - 1, "the last record, without a mate")


def without_suffix(name: str) -> str:
    """The name of a pair: that of a read without `/1` or `/2` at its end."""
    return name[:-2] if name.endswith(("/1", "/2")) else name


def _no_mates(path: Path, number: int, found: str) -> InputError:
    return InputError(
        path,
        where=f"record {number + 1}",
        found=found,
        expected="alternating mates, as in an interleaved file",
        advice="Repair the file (for example with BBTools' repair.sh); or leave out --interleaved, and the word "
        "`interleaved` in the file's name.",
    )


def first_word(header: str) -> str:
    """The id in a header (without its '>' or '@'); empty if the header is empty or starts with a blank."""
    return header.split(None, 1)[0] if header and not header[0].isspace() else ""
