"""Paths as users write them, in settings and on the command line."""

from pathlib import Path


def user_path(text: str | Path) -> Path:
    """The path, with the home folder for a leading `~` or `~NAME`, which shells do not expand in `--out=~/x`.

    Raises ValueError if there is no such home folder.
    """
    try:
        # Path removes the ./ before a name that begins with ~.
        return Path(text).expanduser() if str(text).startswith("~") else Path(text)
    except RuntimeError as error:
        raise ValueError("a path whose ~NAME is a user's (./~NAME is a file of that name)") from error
