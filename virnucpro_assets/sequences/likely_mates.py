"""Files that are taken as single reads and look like mates, told by the names of their first two reads."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.read_files import ReadFile, require_plain_file
from virnucpro_assets.sequences.reads import read_batches

_PRINTED_LETTERS = 80


def likely_mates(files: Sequence[ReadFile]) -> Iterator[str]:
    """A line for each single file that begins with two reads of one name, and each two that begin with the same name.

    A file that cannot be read is passed over: who reads it as a whole says why.
    """
    begun: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        names = [] if file.mate else _first_names(file)
        if names:
            begun[names[0]].append(file.path)
        if len(names) == 2 and names[0] == names[1]:
            yield (
                f"{file.path} begins with two reads called {names[0][:_PRINTED_LETTERS]}. They are taken as single "
                "reads; if the file holds mates in turn, give --interleaved"
            )
    for name, paths in begun.items():
        if len(paths) == 2:
            yield (
                f"{paths[0]} and {paths[1]} both begin with a read called {name[:_PRINTED_LETTERS]}. They are taken as "
                "single reads; if they hold mates, give --paired"
            )


def _first_names(file: ReadFile) -> list[str]:
    with suppress(InputError, OSError):
        # A pipe gives its content once.
        require_plain_file(file.path)
        return [name for batch in islice(read_batches([file], batch_bases=1), 2) for name in batch.names]
    return []
