"""Where device processes of one user keep compiled kernels: a folder that nobody else can write to."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def kernel_cache(temporary: Path) -> Path:
    """A folder of this user in `temporary`, the same for all processes.

    Code is loaded from it, so one that another user made or may write to is not taken: the process then
    has a new folder, and compiles anew.
    """
    folder = temporary / f"virnucpro-kernels-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="virnucpro-kernels-", dir=temporary))
