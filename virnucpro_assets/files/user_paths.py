"""Paths that the user names: home folders, plain files to read, and folders for results.

In a folder for results only files that this program wrote there are replaced. A record in the folder has size and
digest of every file that was ever written there, by name. It is written before the file appears, so the next command
knows all files of a command that was killed. A file that is not in the record, or was changed since, is not ours.
"""

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.digests import FileRecord, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest

RECORD = ".virnucpro.toml"
_STREAMS = (Path("/dev/stdin"), Path("/dev/fd"), Path("/proc"))


def user_path(text: str | Path) -> Path:
    """The path, with the home folder for a leading `~` or `~NAME`, which shells do not expand in `--out=~/x`.

    Raises ValueError if there is no such home folder, or for an empty text, which a variable without a value gives.
    """
    if not str(text):
        raise ValueError("a path, not nothing")
    try:
        # Path removes the ./ before a name that begins with ~.
        return Path(text).expanduser() if str(text).startswith("~") else Path(text)
    except RuntimeError as error:
        raise ValueError("a path whose ~NAME is a user's (./~NAME is a file of that name)") from error


def require_plain_file(path: Path, expected: str = "a file of reads") -> None:
    """Raise InputError unless `path` is a plain file, because files of reads are read more than once.

    A pipe can be read only once. A path to a stream of this process, such as /dev/stdin, is another file in the next
    process, even if it leads to a plain file.
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
    """What `path` is instead of a plain file, or None."""
    if any(path.absolute().is_relative_to(folder) for folder in _STREAMS):
        return "a stream of this process"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "standard input" if str(path) == "-" else "no file"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "no plain file"


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, list[FileRecord]] = {}


def check_outputs(out: Path, names: Iterable[str], inputs: Iterable[Path]) -> None:
    """Raise InputError if a file of `names` in `out` is one of `inputs`, by device and inode, or is not ours.

    Raises DamagedFileError if the record in `out` is damaged.
    """
    read = {
        (status.st_dev, status.st_ino): path for path in inputs if path.exists() and (status := path.stat())
    }
    for path in (out / name for name in names):
        if path.exists() and (status := path.stat()):
            if source := read.get((status.st_dev, status.st_ino)):
                raise InputError(
                    path,
                    found=f"the input {source} under the name of a result",
                    expected="results that replace no input",
                    advice="Choose another --out.",
                )
        elif not path.is_symlink():
            continue
        if not is_ours(path):
            raise InputError(
                path,
                found="a file that was not written here by this program, or was changed since",
                expected="no such file, or a former result",
                advice="Move it away, or choose another --out.",
            )


def is_ours(path: Path) -> bool:
    """Whether a file is in the record of its folder, with this content."""
    known = _read(path.parent).files.get(path.name, [])
    return bool(known) and path.is_file() and not path.is_symlink() and record_of_file(path) in known


def note_outputs(out: Path, contents: Mapping[str, Path]) -> None:
    """Add files that are about to be written to the record of `out`; `contents` has a file with the content of each."""
    files = _read(out).files
    for name, content in contents.items():
        known, record = files.setdefault(name, []), record_of_file(content)
        if record not in known:
            known.append(record)
    write_manifest(out / RECORD, _Written(files=files))


def _read(out: Path) -> _Written:
    path = out / RECORD
    return read_manifest(path, _Written) if path.exists() else _Written()
