"""The manifest of a drop's tables: what they were made from, and the record of each file.

Predictions and calls are in folders of their own, `predictions/` and `calls/`, each with a manifest that is written
last.
"""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest

MANIFEST = "manifest.toml"


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
    write_manifest(folder / MANIFEST, manifest)
    return manifest


def read_tables(folder: Path) -> TablesManifest:
    """The manifest of `folder`; IntegrityError if a file of it is missing or changed."""
    manifest = read_manifest(folder / MANIFEST, TablesManifest)
    for name, record in manifest.files.items():
        check_file(folder / name, record, content=True)
    return manifest
