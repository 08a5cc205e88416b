"""Virtual HDF5 datasets: one view of the rows of many parts, without a copy.

Sources have paths relative to the view, so that a folder can be moved as a whole. HDF5 reads a missing source as the
fill value without an error; the fill value is NaN, and every reader of a view checks its sources first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from virnucpro_assets.files.atomic import atomic_path
from virnucpro_assets.files.digests import FileRecord, record_of_file


@dataclass(frozen=True, slots=True)
class Block:
    """The block of a view, from row `start` and column `left` on, that comes from one part."""

    part: Path
    start: int
    rows: int
    left: int
    width: int


def write_view(path: Path, rows: npt.NDArray[np.int64], width: int, blocks: Sequence[Block]) -> FileRecord:
    """Write a view `embeddings` float32 [len(rows), width] and beside it `rows`, stored in full.

    Returns the size and SHA-256 of the view itself, without its sources.
    """
    layout = h5py.VirtualLayout(shape=(len(rows), width), dtype=np.float32)
    # Without the time of writing, so that the same view has the same digest.
    layout.dcpl.set_obj_track_times(False)
    for block in blocks:
        source = h5py.VirtualSource(
            str(block.part.relative_to(path.parent)),
            "embeddings",
            shape=(block.rows, block.width),
            dtype=np.float32,
        )
        layout[block.start : block.start + block.rows, block.left : block.left + block.width] = source
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", libver="latest") as file:
            file["rows"] = rows
            file.create_virtual_dataset("embeddings", layout, fillvalue=np.nan)
        return record_of_file(temporary)
