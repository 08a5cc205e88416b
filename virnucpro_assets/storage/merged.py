"""The merged embeddings of a drop: DNA and protein side by side, without a copy.

Rows stand shard after shard (rank 0's rows, then rank 1's ...), each with its position in
the index beside it; columns are DNABERT-S first, then ESM-2. `merged.toml`, written last,
lists the shards' parts with the digests they had, and is what opening checks.

HDF5 reads a source that it cannot open as NaN, without an error. So this package reads rows with
`merged_reader.py`, which verifies the parts and reads them directly; the view is for other programs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError, counted
from virnucpro_assets.files.digests import FileRecord, VerifiedFiles, check_file, digest_of_files
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.storage.hdf5 import ViewBlock, write_view
from virnucpro_assets.storage.parts import PartPlan, rows_of
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.shards import MANIFEST as SHARD_MANIFEST
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

MANIFEST = "merged.toml"
VIEW = "merged.h5"


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
    blocks: list[ViewBlock] = []
    sources: list[MergedSource] = []
    left = 0
    for kind in ENCODER_KINDS:
        start = 0
        for path, shard in zip(shard_folders[kind], shards[kind], strict=True):
            for part in shard.parts:
                blocks.append(
                    ViewBlock(path / part.name, start + part.start, part.stop - part.start, left, shard.width)
                )
                sources.append(MergedSource(path=str((path / part.name).relative_to(folder)), file=part.file))
            start += shard.rows
        if start != rows:
            raise IntegrityError(
                folder,
                found=f"{counted(start, 'row')} of {kind}",
                expected=f"{rows} as in the index",
                advice="Materialise the embeddings again.",
            )
        left += shards[kind][0].width
    widths = {kind: shards[kind][0].width for kind in ENCODER_KINDS}
    row_positions = merged_rows([shard.rows for shard in shards["esm2"]])
    view = write_view(folder / VIEW, row_positions, left, blocks)
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


def read_merged(folder: Path, *, verified: VerifiedFiles | None = None) -> MergedManifest:
    """The manifest of the merged view in `folder`, its sources checked by size and, with `verified`, by digest.

    The view itself, which is small and says which row is which, is always checked by its digest.
    Raises IntegrityError also if a shard was made again since, by the digests in its manifest.
    """
    manifest = read_manifest(folder / MANIFEST, MergedManifest)
    check_file(folder / VIEW, manifest.view, content=True)
    shards = source_shards(folder, manifest)
    current = {path / part.name: part.file for path, shard in shards.items() for part in shard.parts}
    for source in manifest.sources:
        check_file(folder / source.path, source.file, content=False)
        if current.get(folder / source.path) != source.file:
            raise IntegrityError(
                folder / source.path,
                found="a part that was made after the merged view",
                expected=f"the one of SHA-256 {source.file.sha256}",
                advice="Materialise merged_embeddings again.",
            )
    if verified is not None:
        verified.require_all((folder / source.path, source.file) for source in manifest.sources)
    return manifest


def quarantined_rows(folder: Path, manifest: MergedManifest) -> dict[EncoderKind, npt.NDArray[np.int64]]:
    """int64 [n] for each encoder: the rows of the index that its shards record as quarantined, ascending."""
    rows: dict[EncoderKind, list[int]] = {kind: [] for kind in ENCODER_KINDS}
    for shard in source_shards(folder, manifest).values():
        rows[shard.recipe.encoder] += [entry.row for entry in shard.incidents.quarantined]
    return {kind: np.array(sorted(found), np.int64) for kind, found in rows.items()}


def source_shards(folder: Path, manifest: MergedManifest) -> dict[Path, ShardManifest]:
    """The manifests of the shards that a view reads, by their folders."""
    folders = {(folder / source.path).parent for source in manifest.sources}
    return {path: read_manifest(path / SHARD_MANIFEST, ShardManifest) for path in sorted(folders)}


def read_merged_rows(folder: Path) -> npt.NDArray[np.int64]:
    """int64 [rows]: the index position of each merged row, as stored."""
    with h5py.File(folder / VIEW, "r") as file:
        rows: npt.NDArray[np.int64] = file["rows"][:]
    return rows
