"""Training sets: labelled embeddings in one file, so that training does not compute them again.

A folder with `training_set.h5`, which has `embeddings` float32 [n, width], DNA first, and for each row its class,
split, source, read length, drop and row of the drop's index; and `training_set.toml`, written last, with what it was
made from, what was left out and why, and the digest of the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.errors import counted
from virnucpro_assets.files.atomic import atomic_path
from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.vocabulary import EncoderKind, Label, Precision

FILE, MANIFEST = "training_set.h5", "training_set.toml"


class SourceRecord(BaseModel):
    """A source: its class, its split (or `regions`), and the number of its rows in each split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: Label
    split: str
    rows: dict[str, int]


class TrainingSetManifest(BaseModel):
    """What a training set was made from, what it holds and what was left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, str] = Field(description="digest or value of everything that determines the content")
    chunk_length: int
    widths: dict[EncoderKind, int]
    encoders: dict[EncoderKind, str] = Field(description="digest of the model folder of each encoder")
    precision: Precision
    drops: list[str]
    counts: dict[str, dict[Label, int]] = Field(description="rows by split and class")
    left_out: dict[str, int] = Field(description="rows that were left out, by reason")
    notes: list[str] = []
    sources: list[SourceRecord]
    file: FileRecord

    @property
    def digest(self) -> str:
        """SHA-256 over the inputs."""
        return digest_of_files(self.inputs.items())


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows of a training set, or a block of them.

    `embeddings` float32 [n, width]; `is_virus` bool [n]; int64 [n] each: `split`, a position in SPLITS,
    `source` and `drop`, positions in the manifest's, `row` of the drop's index, `read_length` in bases.
    """

    embeddings: npt.NDArray[np.float32]
    is_virus: npt.NDArray[np.bool_]
    split: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    drop: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    read_length: npt.NDArray[np.int64]

    def take(self, which: npt.NDArray[np.bool_]) -> "LabelledRows":
        """The rows where `which`, bool [n], is True."""
        return LabelledRows(*(getattr(self, field.name)[which] for field in fields(self)))


def write_rows(folder: Path, blocks: Iterable[LabelledRows], count: int, width: int) -> FileRecord:
    """Write `count` rows, given in blocks, and return the record of the file."""
    with atomic_path(folder / FILE) as temporary:
        with h5py.File(temporary, "w", libver="latest") as file:
            for name, shape, kind in _columns(count, width):
                # Without the time of writing, so that the same content has the same digest.
                file.create_dataset(name, shape, kind, track_times=False)
            first = 0
            for block in blocks:
                last = first + len(block.row)
                for name, _, _ in _columns(count, width):
                    file[name][first:last] = getattr(block, name)
                first = last
            if first != count:
                raise ValueError(f"{counted(first, 'row')} instead of {count}")
        return record_of_file(temporary)


def write_training_set(folder: Path, manifest: TrainingSetManifest) -> None:
    """Write the manifest, after the file."""
    write_manifest(folder / MANIFEST, manifest)


def read_manifest_of(folder: Path) -> TrainingSetManifest | None:
    """The manifest in `folder`, its file checked by size; None if there is no training set."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder / MANIFEST, TrainingSetManifest)
    check_file(folder / FILE, manifest.file, content=False)
    return manifest


def read_training_set(folder: Path) -> tuple[TrainingSetManifest, LabelledRows]:
    """The training set in `folder`, all in memory; IntegrityError if a byte of it changed."""
    manifest = read_manifest(folder / MANIFEST, TrainingSetManifest)
    check_file(folder / FILE, manifest.file, content=True)
    with h5py.File(folder / FILE, "r") as file:
        return manifest, LabelledRows(**{field.name: file[field.name][:] for field in fields(LabelledRows)})


def _columns(count: int, width: int) -> list[tuple[str, tuple[int, ...], Any]]:
    kinds = {"embeddings": np.float32, "is_virus": np.bool_}
    return [
        (
            field.name,
            (count, width) if field.name == "embeddings" else (count,),
            kinds.get(field.name, np.int64),
        )
        for field in fields(LabelledRows)
    ]
