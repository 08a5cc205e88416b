"""Where the locks of a machine's devices are: one place for all users and processes.

It is a folder of the system that belongs to root, and in which everybody may make files and nobody may
remove those of others. It depends on no variable: a batch system or a service gives each job a
temporary folder of its own, and two jobs would each own the same GPU.
"""

import stat
from collections.abc import Sequence
from pathlib import Path

from virnucpro_assets.errors import InputError

PLACES = (Path("/run/lock"), Path("/dev/shm"))  # noqa: S108 - shared by all users on purpose


def machine_locks(places: Sequence[Path] = PLACES) -> Path:
    """The first of `places` that is root's and shared by all users; InputError if none is."""
    for place in places:
        if place.is_dir() and not place.is_symlink():
            found = place.stat()
            if found.st_uid == 0 and found.st_mode & stat.S_ISVTX and found.st_mode & stat.S_IWOTH:
                return place
    raise InputError(
        "setting locks_folder",
        found=f"none of {', '.join(map(str, places))} that root shares with all users (mode 1777)",
        expected="one place for the locks of this machine's devices",
        advice="Set VIRNUCPRO_LOCKS_FOLDER to a folder in which all who use these devices may make files.",
    )
