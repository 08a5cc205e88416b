"""Disk space: a disk that is too full or read-only is an error before the work, not in the middle of it.

The bytes that the work will write are estimated and compared with the free bytes that the file system reports. Quotas
and what others write meanwhile are not known. A disk that fills up all the same ends the work with an error that names
the file; finished files are kept.

The size of embeddings is exact but for the frame of each part. For the index and the tables there are factors. They
were measured with the shipped demo drop (827 reads of 395 bases on average, chunks of 300), as the size of all files
at the moment when most of them existed:

- index: with its temporary files, 0.7 bytes per byte of plain FASTQ, 1.4 of plain FASTA, 4.7 of gzipped FASTQ, 5.2 of
  gzipped FASTA. Reads of 150 bases have more stop-free frames a base and took half as much again. Qualities of a
  sequencer compress worse than those of the demo reads, so real gzipped FASTQ takes less.
- tables: 341 bytes a candidate for all files of `predictions/` and `calls/` with the temporary lines for sorting.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from virnucpro_assets.drops.recipes import token_budget
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, InsufficientDiskSpaceError, counted
from virnucpro_assets.inference.plans import expected_tokens, plan_parts
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.sequences.compression import is_compressed
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.embedding_cache import cache_size
from virnucpro_assets.vocabulary import EncoderKind

INDEX_PER_PLAIN_BYTE = 1.5
INDEX_PER_PACKED_BYTE = 5.0
TABLES_PER_MEMBER = 350
PART_FRAME = 16384
"""Bytes of a part beside its rows: seal, recipe and structure of HDF5 (7 kB), and at most as much again for its share
of the views and manifests."""


def index_bytes(files: Iterable[ReadFile]) -> int:
    """About how many bytes the index of `files` takes at its peak, while it is built."""
    return sum(
        int(
            file.path.stat().st_size
            * (INDEX_PER_PACKED_BYTE if is_compressed(file.path) else INDEX_PER_PLAIN_BYTE)
        )
        for file in files
    )


def embedding_bytes(work: DropWork, kind: EncoderKind, ranks: Sequence[int]) -> int:
    """The bytes of the parts of these ranks that are not there yet, and of their rows in the views.

    A part that is there but will be found damaged is not counted.
    """
    index, settings = work.index, work.settings
    lengths = ENCODERS[kind].lengths(index)
    budget = token_budget(settings, kind)
    rows = parts = 0
    for rank in ranks:
        folder = work.folder.shard(kind, rank, index.manifest.ranks)
        tokens = expected_tokens(kind, lengths[rank :: index.manifest.ranks])
        for plan in plan_parts(tokens, rank, budget, settings.packs_per_part):
            if not (folder / plan.file_name).exists():
                rows += plan.stop - plan.start
                parts += 1
    # A row has float32 numbers and an int64 position; the position is in the part and in both views.
    return rows * (4 * work.encoders[kind].width + 3 * 8) + parts * PART_FRAME


def cache_bytes(work: DropWork, computed: int) -> int:
    """The bytes by which the embedding cache grows at most if so many bytes of embeddings are computed.

    What it has to remove first makes room for the rest.
    """
    cache = work.settings.embedding_cache
    return 0 if cache is None else max(0, min(computed, cache.limit - cache_size(cache.folder)))


def table_bytes(work: DropWork) -> int:
    """About how many bytes the tables of predictions and calls take."""
    return work.index.manifest.members * TABLES_PER_MEMBER


def require_disk_space(folder: Path, needed: int, what: str) -> None:
    """Raise InsufficientDiskSpaceError if the disk of `folder` has less than `needed` bytes free for `what`."""
    existing = _existing(folder)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InsufficientDiskSpaceError(
            f"{existing}: found {readable_size(free)} free on its disk; expected about {readable_size(needed)} for "
            f"{what}. Free some space there, or move the data to a larger disk (VIRNUCPRO_DATA_ROOT)."
        )


def check_folder(folder: Path, content: str, advice: str) -> None:
    """Raise InputError, before any work is done, if `content` cannot be written to `folder`."""
    existing = _existing(folder)
    if not existing.is_dir():
        raise InputError(existing, found="a file", expected=f"a folder for {content}", advice=advice)
    try:
        # Permission bits do not show a read-only disk, nor what root may do: try it.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(
            existing,
            found=f"a folder that takes no files ({error.strerror})",
            expected=f"a folder for {content} that you may write to",
            advice=advice,
        ) from error


def check_data_root(folder: Path) -> None:
    """Raise InputError, before any work is done, if data of drops cannot be written to `folder`."""
    check_folder(folder, "the data", "Check its disk and who may write there, or set VIRNUCPRO_DATA_ROOT.")


def check_out(folder: Path) -> None:
    """Raise InputError, before any work is done, if results cannot be written to `folder`."""
    check_folder(folder, "the results", "Choose another --out.")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def readable_size(size: int) -> str:
    """A number of bytes with three digits and a unit."""
    if size < 1000:
        return counted(size, "byte")
    number = size / 1000
    for unit in ("kB", "MB", "GB"):
        # More is rounded to 1000, which has four digits.
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
