"""What all tables of a drop share: columns, numbers as text, lines, and the manifest beside them.

Predictions and calls are in folders of their own, `predictions/` and `calls/`, each with a manifest that is written
last. Arrow joins the lines of a batch, and their bytes are written without a copy.

A float32 is written as the shortest decimal that reads back as the same float32, in numpy's notation: `0.5`, `1.0`,
`2.861023e-06`. Arrow finds the same digits about six times faster, and writes them in the same way if no exponent and
no padding is needed; the few values outside that range (0, 1, values under 0.0001 or not finite) are written by numpy.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest

TABLES_MANIFEST = "manifest.toml"

Texts = Any
"""An Arrow string array (the results of Arrow's functions have no static type)."""


@cache
def _thousandths() -> Texts:
    """String [2001]: -1.0 to 1.0. Not a constant: the first array that Arrow makes imports pandas, 0.4 s."""
    return pa.array([str(count / 1000) for count in range(-1000, 1001)])


def float32_text(values: npt.NDArray[np.float32]) -> Texts:
    """String [n]: each float32 of `values` as numpy's `str` would write it."""
    in_common_range = (values > np.float32(1e-4)) & (values < np.float32(1))
    text: Texts = pc.cast(pa.array(values), pa.string())
    if in_common_range.all():
        return text
    rest = pa.array(values[~in_common_range].astype("S"), pa.binary()).cast(pa.string())
    return pc.replace_with_mask(text, pa.array(~in_common_range), rest)


def as_printed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [n]: the text of `values`, parsed as float64."""
    numbers: Any = pc.cast(float32_text(values), pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


def three_decimals(values: npt.NDArray[np.float64]) -> Texts:
    """String [n]: each of `values`, which lie between -1 and 1, rounded to 3 decimals: `0.53`, `-1.0`.

    Rounding is that of Python's `round`: by the exact value, ties to even; but negative values that round to zero give
    `0.0`.
    """
    scaled = values * 1000
    thousandths = np.rint(scaled).astype(np.int64)
    for near_tie in np.flatnonzero(np.abs(np.abs(scaled - thousandths) - 0.5) < 1e-6).tolist():
        thousandths[near_tie] = round(round(float(values[near_tie]), 3) * 1000)
    return _thousandths().take(thousandths + 1000)


def with_note(columns: Any, note: str) -> Any:
    """The schema with `note` in its metadata, under `virnucpro.note`; unchanged without a note."""
    return columns.with_metadata({"virnucpro.note": note}) if note else columns


def joined(*pieces: Texts) -> Texts:
    """String [n]: the pieces of each row, columns or constants, one after the other."""
    return pc.binary_join_element_wise(*pieces, "")


def chosen(words: Sequence[str], which: Any) -> Texts:
    """String [n]: the words at the positions `which`, integers or booleans [n]."""
    return pa.array(words, pa.string()).take(which.astype(np.int64))


def text_lines(columns: Sequence[Texts], separators: str) -> bytes:
    """The rows of `columns` as UTF-8 lines; `separators` has a character to follow each column."""
    lines: Texts = joined(*(piece for pair in zip(columns, separators, strict=True) for piece in pair))
    if len(lines) == 0:
        return b""
    _, offsets, letters = lines.buffers()
    ends = np.frombuffer(offsets, np.int32, len(lines) + 1, lines.offset * 4)
    return bytes(letters.slice(int(ends[0]), int(ends[-1] - ends[0])))


class TablesManifest(BaseModel):
    """The inputs of a folder of tables by name and digest, its counts, and its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, str]
    counts: dict[str, int] = {}
    files: dict[str, FileRecord] = {}

    @property
    def digest(self) -> str:
        """SHA-256 over the inputs."""
        return digest_of_files(self.inputs.items())


def write_tables_manifest(
    folder: Path, names: Iterable[str], inputs: dict[str, str], counts: dict[str, int]
) -> TablesManifest:
    """Record the named files of `folder` and what they were made from."""
    files = {name: record_of_file(folder / name) for name in names}
    manifest = TablesManifest(inputs=inputs, counts=counts, files=files)
    write_manifest(folder / TABLES_MANIFEST, manifest)
    return manifest


def read_tables(folder: Path) -> TablesManifest:
    """The manifest of `folder`; IntegrityError if a file of it is missing or changed."""
    manifest = read_manifest(folder / TABLES_MANIFEST, TablesManifest)
    for name, record in manifest.files.items():
        check_file(folder / name, record, content=True)
    return manifest
