"""The results of a drop by content, to compare one deployment with another."""

from pathlib import Path

from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.storage.drops import DropStore

KEPT = ("dnabert_s/*/part-*.h5", "esm2/*/part-*.h5", "predictions/*", "calls/*")


def results(data_root: Path, drop: str) -> dict[str, str]:
    """SHA-256 of each part and table of a drop by name; records, which tell times, are left out."""
    folder = DropStore(data_root).current(drop)[1].path
    found = [
        path for pattern in KEPT for path in folder.glob(pattern) if path.suffix not in {".toml", ".lock"}
    ]
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in sorted(found)}
