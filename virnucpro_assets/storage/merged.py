"""The merged embeddings of a drop: DNA and protein side by side, without a copy.

Rows stand shard after shard (rank 0's rows, then rank 1's ...), each with its position in
the index beside it; columns are DNABERT-S first, then ESM-2. `merged.toml`, written last,
lists the shards' parts with the digests they had, and is what opening checks.

HDF5 reads a source that it cannot open as NaN, without an error. So whatever is read here is
compared with what the shards record: NaN stands in quarantined rows and nowhere else. Before a row is
read, every part that it comes from is verified by its digest, in threads that are a few parts ahead of
the reader.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.storage.incidents import nan_contradiction
from virnucpro_assets.storage.parts import PartPlan, rows_of
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.shards import MANIFEST as SHARD_MANIFEST
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.storage.virtual import Block, write_view
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

MANIFEST = "merged.toml"
VIEW = "merged.h5"

VERIFYING = 2
"""Threads that digest parts while rows are read and used."""

PARTS_AHEAD = 4


class MergedSource(BaseModel):
    """One part that a merged view reads, by its path relative to the view."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    file: FileRecord


class MergedManifest(BaseModel):
    """What a merged view was made of, and the record of the view itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    widths: dict[EncoderKind, int]
    recipes: dict[EncoderKind, Recipe]
    sources: list[MergedSource] = []
    view: FileRecord

    @property
    def width(self) -> int:
        return sum(self.widths.values())

    @property
    def digest(self) -> str:
        """SHA-256 over the recipes and the content of the sources."""
        recipes = [(str(kind), recipe.digest) for kind, recipe in self.recipes.items()]
        return digest_of_files([*recipes, *((source.path, source.file.sha256) for source in self.sources)])


def write_merged(
    folder: Path,
    shard_folders: Mapping[EncoderKind, Sequence[Path]],
    recipes: Mapping[EncoderKind, Recipe],
    rows: int,
) -> MergedManifest:
    """Join the shards of all ranks and both encoders, `shard_folders[encoder][rank]`, to one view.

    Raises IntegrityError if a shard is missing or damaged, is of another recipe than
    `recipes` says, or if the shards together do not hold `rows` rows.
    """
    shards = {
        kind: [_checked_shard(path, rank, recipes[kind]) for rank, path in enumerate(shard_folders[kind])]
        for kind in ENCODER_KINDS
    }
    blocks: list[Block] = []
    sources: list[MergedSource] = []
    left = 0
    for kind in ENCODER_KINDS:
        start = 0
        for path, shard in zip(shard_folders[kind], shards[kind], strict=True):
            for part in shard.parts:
                blocks.append(
                    Block(path / part.name, start + part.start, part.stop - part.start, left, shard.width)
                )
                sources.append(MergedSource(path=str((path / part.name).relative_to(folder)), file=part.file))
            start += shard.rows
        if start != rows:
            raise IntegrityError(
                folder,
                found=f"{start} rows of {kind}",
                expected=f"{rows} as in the index",
                advice="Materialise the embeddings again.",
            )
        left += shards[kind][0].width
    widths = {kind: shards[kind][0].width for kind in ENCODER_KINDS}
    places = merged_rows([shard.rows for shard in shards["esm2"]])
    view = write_view(folder / VIEW, places, left, blocks)
    manifest = MergedManifest(rows=rows, widths=widths, recipes=dict(recipes), sources=sources, view=view)
    write_manifest(folder / MANIFEST, manifest)
    return manifest


def _checked_shard(folder: Path, rank: int, recipe: Recipe) -> ShardManifest:
    shard = read_shard(folder)
    if shard.recipe != recipe or shard.rank != rank:
        raise IntegrityError(
            folder,
            found=f"rank {shard.rank} of recipe {shard.recipe.digest}",
            expected=f"rank {rank} of recipe {recipe.digest}",
            advice="Materialise the embeddings of this rank again.",
        )
    return shard


def merged_rows(rows_of_ranks: Sequence[int]) -> npt.NDArray[np.int64]:
    """int64 [sum]: the index position of each merged row, rank 0's rows first, then rank 1's."""
    ranks = len(rows_of_ranks)
    return np.concatenate(
        [
            rows_of(PartPlan(rank=rank, number=0, start=0, stop=n), ranks)
            for rank, n in enumerate(rows_of_ranks)
        ]
    )


def read_merged(folder: Path, *, content: bool = False) -> MergedManifest:
    """The manifest of the merged view in `folder`, its sources checked by size and, on demand, digest.

    The view itself, which is small and says which row is which, is always checked by its digest.
    Raises IntegrityError also if a shard was made again since, by the digests in its manifest.
    """
    manifest = read_manifest(folder / MANIFEST, MergedManifest)
    check_file(folder / VIEW, manifest.view, content=True)
    shards = _source_shards(folder, manifest)
    current = {path / part.name: part.file for path, shard in shards.items() for part in shard.parts}
    for source in manifest.sources:
        check_file(folder / source.path, source.file, content=content)
        if current.get(folder / source.path) != source.file:
            raise IntegrityError(
                folder / source.path,
                found="a part that was made after the merged view",
                expected=f"the one of SHA-256 {source.file.sha256}",
                advice="Materialise merged_embeddings again.",
            )
    return manifest


def quarantined_rows(folder: Path, manifest: MergedManifest) -> dict[EncoderKind, npt.NDArray[np.int64]]:
    """int64 [n] for each encoder: the rows of the index that its shards record as quarantined, ascending."""
    rows: dict[EncoderKind, list[int]] = {kind: [] for kind in ENCODER_KINDS}
    for shard in _source_shards(folder, manifest).values():
        rows[shard.recipe.encoder] += [entry.row for entry in shard.incidents.quarantined]
    return {kind: np.array(sorted(found), np.int64) for kind, found in rows.items()}


def _source_shards(folder: Path, manifest: MergedManifest) -> dict[Path, ShardManifest]:
    folders = {(folder / source.path).parent for source in manifest.sources}
    return {path: read_manifest(path / SHARD_MANIFEST, ShardManifest) for path in sorted(folders)}


def merged_blocks(
    folder: Path, size: int = 8192
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Stream (rows int64 [b], embeddings float32 [b, width]) in stored order, at most `size` rows each.

    The sources are checked first, see `read_merged`, and each is digested before a row of it is read.
    Quarantined rows are NaN in the columns of their encoder. Raises IntegrityError, naming the file, if a
    source is missing or changed, and, naming the row, for any other NaN or Inf.
    """
    manifest = read_merged(folder)
    quarantined = quarantined_rows(folder, manifest)
    sources = _stored_parts(folder, manifest)
    with _verifying(sources) as verify_below, h5py.File(folder / VIEW, "r") as file:
        for start in range(0, manifest.rows, size):
            verify_below(start + size)
            rows, embeddings = (file[name][start : start + size] for name in ("rows", "embeddings"))
            _refuse_unexplained_nan(folder, manifest, quarantined, rows, embeddings)
            yield rows, embeddings


def read_merged_rows(folder: Path) -> npt.NDArray[np.int64]:
    """int64 [rows]: the index position of each merged row, as stored."""
    with h5py.File(folder / VIEW, "r") as file:
        rows: npt.NDArray[np.int64] = file["rows"][:]
    return rows


def read_merged_at(folder: Path, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """float32 [n, width]: the rows of the index at `positions`, for samples.

    Raises IntegrityError if a source is missing or changed, see `merged_blocks`.
    """
    manifest = read_merged(folder)
    quarantined = quarantined_rows(folder, manifest)
    rows = read_merged_rows(folder)
    places = np.argsort(rows, kind="stable")[positions]
    sources = [
        part
        for part in _stored_parts(folder, manifest)
        if ((places >= part.start) & (places < part.stop)).any()
    ]
    with _verifying(sources) as verify_below, h5py.File(folder / VIEW, "r") as file:
        verify_below(manifest.rows)
        embeddings = np.stack([file["embeddings"][place] for place in places.tolist()])
    _refuse_unexplained_nan(folder, manifest, quarantined, positions, embeddings)
    return embeddings


@dataclass(frozen=True, slots=True)
class _StoredPart:
    """A source of a merged view, which holds the merged rows `start` up to but not including `stop`."""

    start: int
    stop: int
    path: Path
    file: FileRecord


def _stored_parts(folder: Path, manifest: MergedManifest) -> list[_StoredPart]:
    """The sources of a view in the order in which its rows need them."""
    shards = _source_shards(folder, manifest)
    sizes = {
        path / part.name: part.stop - part.start for path, shard in shards.items() for part in shard.parts
    }
    ends = dict.fromkeys(ENCODER_KINDS, 0)
    parts = []
    for source in manifest.sources:
        path = folder / source.path
        kind = shards[path.parent].recipe.encoder
        start, ends[kind] = ends[kind], ends[kind] + sizes[path]
        parts.append(_StoredPart(start, ends[kind], path, source.file))
    return sorted(parts, key=lambda part: part.start)


@contextmanager
def _verifying(parts: Sequence[_StoredPart]) -> Iterator[Callable[[int], None]]:
    """Digest `parts`, a few ahead of the reader; what is given waits until all that begin below a row are whole.

    It raises IntegrityError, naming the file, for one that is not.
    """
    waiting, begun = deque(parts), deque[tuple[int, Future[None]]]()

    def begin() -> None:
        if waiting:
            part = waiting.popleft()
            begun.append((part.start, executor.submit(check_file, part.path, part.file, content=True)))

    def verify_below(row: int) -> None:
        while begun and begun[0][0] < row:
            begun.popleft()[1].result()
            begin()

    executor = ThreadPoolExecutor(VERIFYING, thread_name_prefix="verify")
    try:
        for _ in range(PARTS_AHEAD):
            begin()
        yield verify_below
    finally:
        executor.shutdown(cancel_futures=True)


def _refuse_unexplained_nan(
    folder: Path,
    manifest: MergedManifest,
    quarantined: Mapping[EncoderKind, npt.NDArray[np.int64]],
    rows: npt.NDArray[np.int64],
    embeddings: npt.NDArray[np.float32],
) -> None:
    left = 0
    for kind in ENCODER_KINDS:
        right = left + manifest.widths[kind]
        if found := nan_contradiction(rows, embeddings[:, left:right], quarantined[kind]):
            raise IntegrityError(
                folder / VIEW,
                where=kind,
                found=found,
                expected="NaN in quarantined rows only",
                advice="A part could not be read or was changed. Check the disk, then materialise the embeddings and "
                "merged_embeddings again.",
            )
        left = right
