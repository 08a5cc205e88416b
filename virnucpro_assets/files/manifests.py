"""Manifests: small typed records beside the data, stored as TOML."""

import tomllib
from pathlib import Path
from typing import TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import write_text

Record = TypeVar("Record", bound=BaseModel)


def write_manifest(path: Path, record: BaseModel) -> None:
    """Write `record` to `path`; fields that are None are left out."""
    write_text(path, tomli_w.dumps(record.model_dump(mode="json", exclude_none=True)))


def read_manifest(path: Path, kind: type[Record]) -> Record:
    """Read the record at `path`, or raise IntegrityError naming what is wrong with it."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path}: found no file; expected a {kind.__name__}. Materialise what comes before it first."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        first_line = str(error).splitlines()[0]
        raise IntegrityError(
            f"{path}: found {first_line}; expected a {kind.__name__}. Materialise it again."
        ) from error
