"""Manifests: small typed records beside the data, stored as TOML that carries its own digest.

The first line is a comment with the SHA-256 of all bytes after it, so a damaged manifest is found by itself, and every
TOML reader can read it. Only this module writes and reads them: a manifest that was edited by hand counts as damaged.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from virnucpro_assets.errors import (
    DamagedFileError,
    IntegrityError,
    OtherVersionError,
    describe_validation_error,
    excerpt,
)
from virnucpro_assets.files.atomic import write_bytes

Record = TypeVar("Record", bound=BaseModel)

_MARK = b"# virnucpro manifest sha256="


def write_manifest(path: Path, record: BaseModel) -> None:
    """Write `record` to `path`; fields that are None are left out."""
    body = tomli_w.dumps(record.model_dump(mode="json", exclude_none=True)).encode()
    write_bytes(path, _sealed(body))


REPAIR = (
    "Files of a drop are replaced by `virnucpro materialize DROP --replace`, any other may be moved away and made "
    "again"
)


def read_manifest(path: Path, kind: type[Record], *, repair: str = REPAIR) -> Record:
    """Read the record at `path`; `repair` is the advice for a record of another version.

    Raises DamagedFileError if the content does not match its digest, OtherVersionError if it does but this version
    cannot read it, IntegrityError if there is no file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(
            path,
            found="no file",
            expected=f"a {kind.__name__}",
            advice="Materialise what comes before it first.",
        ) from error
    body = content.partition(b"\n")[2]
    if content != _sealed(body):
        raise DamagedFileError(
            path,
            found="content that does not match the SHA-256 in its first line",
            expected=f"a {kind.__name__} as it was written",
            advice="Move the file away and materialise it again.",
        )
    try:
        return kind.model_validate(tomllib.loads(body.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        found = describe_validation_error(error) if isinstance(error, ValidationError) else excerpt(error)
        raise OtherVersionError(
            path,
            found=f"{found}, so another version wrote it",
            expected=f"a {kind.__name__} of this version",
            advice=f"Go back to that version, or replace the file. {repair}.",
        ) from error


def _sealed(body: bytes) -> bytes:
    return b"%b%b\n%b" % (_MARK, hashlib.sha256(body).hexdigest().encode(), body)
