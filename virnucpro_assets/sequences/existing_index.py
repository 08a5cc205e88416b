"""The existing index of a drop: reused if it is the one that would be built, renamed if it is damaged."""

from collections.abc import Callable
from pathlib import Path

from virnucpro_assets.errors import DamagedFileError, IntegrityError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.sequences.index import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    IndexManifest,
    IndexOrigin,
    SequenceIndex,
)

Report = Callable[[str], None]


def reuse_existing_index(folder: Path, origin: IndexOrigin, report: Report) -> IndexManifest | None:
    """The manifest of the index in `folder` if it is whole and of this origin, else None.

    Every byte is read for its digest. A damaged index is renamed to `NAME.quarantine-N`; one of another origin or
    format is left for the builder to replace. `report` is called with a line that says which. Call it with the lock
    of the index held.
    """
    if not (folder / MANIFEST_FILE).exists():
        return None
    try:
        manifest = read_manifest(folder / MANIFEST_FILE, IndexManifest)
    except DamagedFileError as error:
        _set_aside(folder, error, report)
        return None
    except IntegrityError as error:
        report(f"an index that this version does not know is built again: {error}")
        return None
    if differences := _differences(manifest, origin):
        report(f"the index was made from something else ({'; '.join(differences)}) and is built again")
        return None
    try:
        SequenceIndex.open(folder, verify_content=True)
    except IntegrityError as error:
        _set_aside(folder, error, report)
        return None
    report(f"index {manifest.digest[:12]} exists, is whole and of these reads: it is reused")
    return manifest


def _set_aside(folder: Path, error: IntegrityError, report: Report) -> None:
    report(f"a damaged index was renamed to {set_aside(folder, 'quarantine')} and is built again: {error}")


def _differences(found: IndexManifest, expected: IndexOrigin) -> list[str]:
    before = {"format_version": found.format_version, **found.origin.model_dump()}
    now = {"format_version": FORMAT_VERSION, **expected.model_dump()}
    return [f"{name} {value} is now {now[name]}" for name, value in before.items() if value != now[name]]
