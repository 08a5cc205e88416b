"""Room: a disk that is too full or takes no files is told before the work, not in its middle.

What the work will write is estimated and compared with what the disk of its folder has free.
The free room is what the file system says; it knows nothing of quotas, nor of what others
write meanwhile. A disk that fills up all the same ends the work with an error that names the
file, and what was finished is kept.

Embeddings are known to the byte but for the frame around each part. For the index and the
tables there are factors, measured with the shipped demo drop (827 reads of 395 bases in the
mean, chunks of 300), which were the sizes of all files at the moment when most of them lay there:

- index: with its files set aside, 0.7 bytes per byte of plain FASTQ, 1.4 of plain FASTA, 4.7 of
  gzipped FASTQ, 5.2 of gzipped FASTA. Reads of 150 bases have more stop-free frames a base and
  took half as much again; the qualities of a sequencer pack worse than those of the demo reads,
  so that real gzipped FASTQ takes less a byte.
- tables: 341 bytes a candidate for all files of `predictions/` and `calls/` with the lines that
  are set aside for sorting.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from virnucpro_assets.drops.recipes import token_budget
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, NoRoomError
from virnucpro_assets.inference.plans import expected_tokens, plan_parts
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.sequences.compression import is_packed
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.embedding_cache import cache_size
from virnucpro_assets.vocabulary import EncoderKind

INDEX_PER_PLAIN_BYTE = 1.5
INDEX_PER_PACKED_BYTE = 5.0
TABLES_PER_MEMBER = 350
PART_FRAME = 16384
"""Bytes of a part beside its rows: seal, recipe and the structure of HDF5 (7 kB), and at most as much
again for its share of the views and manifests."""


def index_bytes(files: Iterable[ReadFile]) -> int:
    """About how many bytes building the index of `files` takes at its peak."""
    return sum(
        int(
            file.path.stat().st_size
            * (INDEX_PER_PACKED_BYTE if is_packed(file.path) else INDEX_PER_PLAIN_BYTE)
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
    # A row is float32 numbers and its int64 position, which stands in the part and in both views.
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


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raise NoRoomError if the disk of `folder` has less than `needed` bytes free for `what`."""
    standing = _standing(folder)
    free = shutil.disk_usage(standing).free
    if free < needed:
        raise NoRoomError(
            f"{standing}: found {_size(free)} free on its disk; expected about {_size(needed)} for {what}. "
            "Free some room there, or move the data to a larger disk (VIRNUCPRO_DATA_ROOT)."
        )


def check_folder(folder: Path, content: str, advice: str) -> None:
    """Raise InputError, before any work is done, if `content` cannot be written to `folder`."""
    standing = _standing(folder)
    if not standing.is_dir():
        raise InputError(standing, found="a file", expected=f"a folder for {content}", advice=advice)
    try:
        # Permission bits say little of read-only disks and of root: only a file proves it.
        with tempfile.TemporaryFile(dir=standing):
            pass
    except OSError as error:
        raise InputError(
            standing,
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


def _standing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
