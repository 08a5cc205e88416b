"""Standard input as a file of reads: kept in the data root, because files of reads are read more than once."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import IO

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.atomic import atomic_file, sync_folder
from virnucpro_assets.settings import Settings

NAMES = {"-", "/dev/stdin"}
"""How standard input is named on a command line."""
FOLDER = "_stdin"
AT_ONCE = 1 << 20


def keep_standard_input(settings: Settings, stream: IO[bytes]) -> Path:
    """Copy `stream` to its end; returns the file, which is named by its content.

    So the same reads are the same file, and other reads never take the place of those of a former drop. Raises
    InputError if nothing comes: the command before the pipe failed.
    """
    # Processes in containers have the same number.
    arriving = settings.data_root / FOLDER / f"arriving-{os.getpid()}-{secrets.token_hex(4)}"
    digest = hashlib.sha256()
    with atomic_file(arriving) as copy:
        while block := stream.read(AT_ONCE):
            digest.update(block)
            copy.write(block)
        if not copy.tell():
            raise InputError(
                "standard input",
                found="nothing",
                expected="reads",
                advice="Check the command before the pipe.",
            )
    kept = arriving.replace(arriving.with_name(f"{digest.hexdigest()[:16]}.reads"))
    sync_folder(kept.parent)
    return kept
