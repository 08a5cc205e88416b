"""The errors that a user can fix.

Each message is one line that says where (file, record or line), what was found, what was expected and what to do. The
command line prints that line without a traceback. Any other exception is a bug.
"""

from pathlib import Path

from pydantic import ValidationError

FILE_TEXT = 300
"""How many letters of a file's content a message has at most."""


class VirnucproError(Exception):
    """Base of every error that a user can fix."""

    exit_code = 1


class _FileError(VirnucproError):
    """Something is wrong with a file, or with a record or line of it (`where`)."""

    def __init__(
        self, file: Path | str, *, found: str, expected: str, advice: str, where: str | None = None
    ) -> None:
        location = f"{file}, {where}" if where else str(file)
        super().__init__(f"{location}: found {found}; expected {expected}. {advice}")


class InputError(_FileError):
    """A file of reads, a name or an option is invalid."""

    exit_code = 2


class IntegrityError(_FileError):
    """A stored file is missing, damaged, or was made from something else."""

    exit_code = 3


class DamagedFileError(IntegrityError):
    """A stored file does not match its own digest."""


class OtherVersionError(IntegrityError):
    """A stored file is undamaged, but not in the format of this version."""


class DeviceError(VirnucproError):
    """A device process ended unexpectedly, failed, or could not be started."""

    exit_code = 4


class BusyError(VirnucproError):
    """Another process owns a device or writes the same results."""

    exit_code = 4


class InsufficientDiskSpaceError(VirnucproError):
    """A disk has less free space than the work needs."""


def describe_os_error(error: OSError) -> str:
    """One line about a file that the system could not read or write."""
    location = error.filename or "a file"
    if error.filename is None and isinstance(error, FileNotFoundError):
        try:
            Path.cwd()
        except FileNotFoundError:
            location = "the working folder"
    return f"{location}: found {error.strerror or error}. Check the path, who may use it, and the space on its disk."


def describe_validation_error(error: ValidationError) -> str:
    """The first error and its field, to be put after "found"."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"])) or "the file"
    return excerpt(f"{first['msg']!r} at {field}")


def counted(count: float, what: str) -> str:
    """A count with its noun: `1 read`, `2,000 reads`, `0 viruses`, `1.5 hours`."""
    number = f"{count:g}" if isinstance(count, float) else f"{count:,}"
    return f"{number} {what}" if count == 1 else f"{number} {what}{'es' if what.endswith('s') else 's'}"


def excerpt(text: object, most: int = FILE_TEXT) -> str:
    """The part of a file's text that a message shows: one line of printable letters, at most `most` of them.

    Longer text is cut, with an ellipsis as its last letter.
    """
    line = " ".join(str(text)[: 4 * most].split())
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"
