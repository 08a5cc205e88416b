"""The manifest of an index: what it was made from, its content in numbers, and whether an existing one is reused.

A folder without a manifest is no index: it is written last. An existing index is reused if it is whole and the one that
would be built; a damaged one is renamed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import DamagedFileError, IntegrityError, counted
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.files.digests import FileRecord, check_file
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.files.parquet import damaged, footer_digest
from virnucpro_assets.sequences.names import DuplicatePolicy, remarks_on_names

FORMAT_VERSION = 3
MANIFEST_FILE = "manifest.toml"
ROWS_FILE = "rows.parquet"
MEMBERS_FILE = "members.parquet"
READS_FILE = "reads.parquet"


class IndexOrigin(BaseModel):
    """What an index is made from: equal origins give equal indexes.

    `drop_digest` is over the names and contents of the files, `files_digest` over their order and mates.
    `engine_format` grows when results of the engine may change. Reads without a stop-free frame (`frameless`) are
    kept as whole chunks, or else have that as their reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_digest: str
    files_digest: str = ""
    chunk_length: int
    ranks: int
    duplicates: DuplicatePolicy = "suffix"
    engine_format: int = 0
    frameless: Literal["kept"] | None = None


class WholeChunks(BaseModel):
    """Counts of the whole chunks in an index: reads without a stop-free frame, their members, the distinct rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reads: int
    members: int
    rows: int


class IndexManifest(IndexOrigin):
    """The origin of an index, and its content in numbers.

    `rows`, `members`, `reads` and `bases` are counts; so are `renamed` (reads whose name was a repeat), `lone_mates`
    (reads whose partner is missing), `reasons` (reads without a candidate, by reason), `reads_with_u` (U is read as
    T), `unreadable_frames` (members with under half of their codons readable) and `unreadable_reads` (reads that have
    such members). `digest` is the content digest (see index_builder), `files` the size and SHA-256 of each Parquet
    file, `footers` the digest of its end (see files/parquet.py). `whole_chunks` are included in the other counts, and
    None if there are none.
    """

    format_version: int
    rows: int
    members: int
    reads: int
    bases: int
    renamed: int
    lone_mates: int = 0
    reasons: dict[str, int]
    reads_with_u: int = 0
    unreadable_frames: int = 0
    unreadable_reads: int = 0
    digest: str
    files: dict[str, FileRecord]
    footers: dict[str, str] = {}
    whole_chunks: WholeChunks | None = None

    @property
    def remarks(self) -> list[str]:
        """Remarks about the names and letters of the reads, a line each."""
        remarks = remarks_on_names(self.reads, self.renamed, self.lone_mates)
        if self.reads_with_u:
            remarks.append(f"reads with a U, which is read as T: {self.reads_with_u:,} of {self.reads:,}")
        if self.unreadable_frames:
            remarks.append(
                f"reading frames with under half of their codons readable: {self.unreadable_frames:,}, of "
                f"{counted(self.unreadable_reads, 'read')}. They have no stops because letters are missing; the column "
                "unreadable_frames of read_calls.parquet marks their reads"
            )
        return remarks

    @property
    def rows_with_protein(self) -> int:
        """The number of rows with a protein, which come first; the others are whole chunks."""
        return self.rows - (self.whole_chunks.rows if self.whole_chunks else 0)

    @property
    def origin(self) -> IndexOrigin:
        return IndexOrigin(**{name: getattr(self, name) for name in IndexOrigin.model_fields})


def read_index_manifest(folder: Path, *, verify_content: bool = False) -> IndexManifest:
    """The manifest of the index in `folder`, and its files checked.

    Raises IntegrityError if the manifest or a file is missing, a file does not have its
    recorded size and end (with `verify_content` also its SHA-256), or the format is another one.
    """
    manifest = read_manifest(folder / MANIFEST_FILE, IndexManifest)
    if manifest.format_version != FORMAT_VERSION:
        raise IntegrityError(
            folder / MANIFEST_FILE,
            found=f"index format {manifest.format_version}",
            expected=f"{FORMAT_VERSION}",
            advice="Materialise the index again.",
        )
    for name in (ROWS_FILE, MEMBERS_FILE, READS_FILE):
        if name not in manifest.files:
            raise IntegrityError(
                folder / MANIFEST_FILE,
                found=f"no record of {name}",
                expected="one",
                advice="Materialise the index again.",
            )
        check_file(folder / name, manifest.files[name], content=verify_content)
        if (found := footer_digest(folder / name)) != (expected := manifest.footers.get(name)):
            raise damaged(folder / name, f"an end of SHA-256 {found}", f"{expected} as its manifest says")
    return manifest


def reuse_existing_index(
    folder: Path, origin: IndexOrigin, report: Callable[[str], None]
) -> IndexManifest | None:
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
        read_index_manifest(folder, verify_content=True)
    except IntegrityError as error:
        _set_aside(folder, error, report)
        return None
    report(f"index {manifest.digest[:12]} exists, is whole and of these reads: it is reused")
    return manifest


def _set_aside(folder: Path, error: IntegrityError, report: Callable[[str], None]) -> None:
    report(f"a damaged index was renamed to {set_aside(folder, 'quarantine')} and is built again: {error}")


def _differences(found: IndexManifest, expected: IndexOrigin) -> list[str]:
    before = {"format_version": found.format_version, **found.origin.model_dump()}
    now = {"format_version": FORMAT_VERSION, **expected.model_dump()}
    return [f"{name} {value} is now {now[name]}" for name, value in before.items() if value != now[name]]
