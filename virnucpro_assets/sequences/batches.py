"""Batches: the typed data on the way from the files to the index.

reads -> ReadBatch -> CandidateBatch -> index. Every batch keeps the order of the input.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.sequences.ragged import Ragged

FRAMES = ("F1", "F2", "F3", "R1", "R2", "R3", "N0")
"""The ends of candidates' names, after the chunk's name: the six reading frames, and N0 for a whole chunk."""

WHOLE_CHUNK = FRAMES.index("N0")
"""A candidate that is the whole chunk, without a protein. It has two letters like the others, because users of
VirNucPro's tables cut off two letters to get the chunk's name."""


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Consecutive reads of a drop.

    `first` is the position of the first read in the drop, `names` the reads' names (with the suffix of a mate, but
    not yet that of a repeat), `bases` their letters as in the file, `file` the file that they come from, if it is one.
    """

    first: int
    names: list[str]
    bases: Ragged
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """The candidates of consecutive reads, ordered by read, chunk and frame.

    `read` int64 [m] is the read's position in the drop, `chunk` int32 [m] counts from 1,
    `frame` int8 [m] is a position in FRAMES; `proteins` and `nucleotides` are upper case.
    """

    read: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int8]
    proteins: Ragged
    nucleotides: Ragged
