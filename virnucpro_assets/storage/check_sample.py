"""The sample of the precision checks: a few rows of a drop, embedded again in other ways, in one sealed file.

The embed stage writes `check_sample.h5` while it has devices; the checks after the predictions compare what it
holds with the stored embeddings. The ways are `alone` (the precision in use, one sequence at a time), `half`
(float16) and `exact` (float32). A row may hold NaN or Inf: that an embedding overflows is what a check reports.

A sample belongs to the embeddings of one recipe of each encoder, without the rows that these record as quarantined.
`made_from` is the digest of that; another one means that the sample is of other embeddings.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.storage.hdf5 import open_sealed, write_sealed
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind, Precision

CHECK_SAMPLE_FILE = "check_sample.h5"

Way = Literal["alone", "half", "exact"]
WAYS: tuple[Way, ...] = ("alone", "half", "exact")

PRECISIONS: dict[Way, Precision] = {"half": "float16", "exact": "float32"}

Rows = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CheckSample:
    """The int64 [n] `rows` of the index that at most `chunks` chunks need, ascending, embedded in each way.

    `embeddings[way]` is float32 [n, d_dna + d_protein], DNA first.
    """

    made_from: str
    chunks: int
    rows: Rows
    embeddings: Mapping[Way, Embeddings]


def precision_of(way: Way, in_use: Precision) -> Precision:
    """The precision in which a way computes, where embeddings are computed in the one `in_use`."""
    return PRECISIONS.get(way, in_use)


def sample_origin(
    recipes: Mapping[EncoderKind, Recipe], quarantined: Mapping[EncoderKind, Iterable[int]]
) -> str:
    """SHA-256 over what a sample is made from: the recipes, and the rows that cannot be embedded."""
    parts = [[kind, recipes[kind].digest, sorted(map(int, quarantined[kind]))] for kind in ENCODER_KINDS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write_check_sample(folder: Path, sample: CheckSample) -> None:
    """Write the sample of the generation in `folder`."""

    def fill(file: h5py.File) -> None:
        file["rows"] = sample.rows
        for way in WAYS:
            file[way] = sample.embeddings[way]
        file.attrs.update({"made_from": sample.made_from, "chunks": sample.chunks})

    write_sealed(folder / CHECK_SAMPLE_FILE, fill)


def read_check_sample(folder: Path) -> CheckSample | None:
    """The sample of the generation in `folder`, every byte checked, or None if there is none.

    Raises DamagedFileError if the file is not what was written.
    """
    path = folder / CHECK_SAMPLE_FILE
    if not path.exists():
        return None
    with open_sealed(path) as (file, _):
        return CheckSample(
            made_from=str(file.attrs["made_from"]),
            chunks=int(file.attrs["chunks"]),
            rows=file["rows"][:],
            embeddings={way: file[way][:] for way in WAYS},
        )


def fitting_check_sample(folder: Path, made_from: str) -> CheckSample:
    """The sample in `folder`; IntegrityError if there is none or if it was made from something else."""
    sample = read_check_sample(folder)
    if sample is None or sample.made_from != made_from:
        found = "no sample" if sample is None else f"a sample of {sample.made_from}"
        raise IntegrityError(
            folder / CHECK_SAMPLE_FILE,
            found=found,
            expected=f"the sample of {made_from}, which the precision checks compare",
            advice="Materialise the embeddings of the drop again: finished parts are kept, and the sample is made.",
        )
    return sample
