"""What names in the drops folder mean: a drop's key, a file that is still being copied, or litter."""

import os
import re
from pathlib import PurePath

from virnucpro_assets.sequences.read_files import without_mate

_PACKED = (".gz", ".bgz", ".zst", ".zstd", ".bz2", ".xz")
_READS = (".fastq", ".fq", ".fasta", ".fa", ".fna", ".fas", ".ubam", ".bam")

# What browsers, WinSCP, rclone, aria2, gsutil and others add to a name while they copy.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".aria2", "~")
# rsync's .NAME.x7Gh2k, with its own folder for delayed updates; lftp's .in.NAME.
_HIDDEN = re.compile(r"\.(?:in\.)?(?P<name>.+?)(?:\.[A-Za-z0-9]{6}|\.)?")
# NAME.fastq.gz.6eF78aBc, as the AWS command line writes.
_NUMBERED = re.compile(r"(?P<name>.+\.(?:gz|bgz|zst|bz2|xz|fastq|fq|fasta|fa|fna|bam))\.[0-9A-Fa-f]{8}")
# Reads of the indices by which bcl2fastq tells samples apart.
_INDEX_READS = re.compile(r".+_S\d+(_L\d{3})?_I[12]_\d{3}")
# What holds reads in a form that is refused with advice.
_OTHER_READS = re.compile(r".+\.(sam|cram|sra|tar|tgz|7z|rar)(\.(gz|zst|bz2|xz))?", re.IGNORECASE)
# Left behind by desktops for good, so nothing may wait for it.
_LITTER = re.compile(r"\._.*|\.DS_Store|\.localized|\.directory|\.Trash.*|\.gitkeep|\.snapshot", re.DOTALL)

PRINTED_LETTERS = 80


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name says nothing and will not go away."""
    return _LITTER.fullmatch(name) is not None


def unfinished_target(name: str) -> str | None:
    """The name that a file or folder has once it is copied, if this is the name it has until then.

    Every name that starts with a dot counts, except litter.
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
    """Whether a file of this name holds reads of a sample, in whatever form; None if only its content says so."""
    key = key_of_file(name)
    if key is not None:
        return _INDEX_READS.fullmatch(key) is None
    return True if _OTHER_READS.fullmatch(name) else None


def key_of_anything(name: str) -> str:
    """As key_of_file; a name without such endings, that of a folder for example, stands for itself."""
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
