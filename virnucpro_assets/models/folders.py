"""Model folders: config.json, model.safetensors and, for DNA, tokenizer.json. No torch here.

A folder's identity is its digest: SHA-256 over its files' names and SHA-256s, so one changed
byte of the weights, the shape or the tokeniser makes another model.

The digests of a large model are computed once, when it is imported or first used, and stored beside it in
`digests.toml` with the stamps of the files; they are valid as long as the stamps are unchanged. If the folder is not
writable, each step computes them.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from virnucpro_assets.errors import IntegrityError, describe_validation_error
from virnucpro_assets.files.digests import SETTLED, digest_of_files, is_unchanged, sha256_of_file, stamp_of
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.models.configs import ENCODER_CONFIG, EncoderConfig
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.vocabulary import EncoderKind

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DIGESTS_FILE = "digests.toml"

LARGE = 64 << 20
"""The digests of models of at least so many bytes are stored: smaller ones take no time."""

Stamps = tuple[tuple[str, str], ...]
"""Names of files with their stamps."""


class _KnownDigests(BaseModel):
    """SHA-256 and stamp of each file of a model folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: dict[str, str]
    stamps: dict[str, str]


_LFS_POINTER = "a Git LFS pointer"
_FAILED_DOWNLOADS = {
    b"version https://git-lfs": _LFS_POINTER,
    b"<": "a web page, which a server sent in its place",
    b'{"error"': "the error of a server",
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """An encoder that is not loaded; `stamps` are those of its files when they were digested."""

    path: Path
    config: EncoderConfig
    digest: str
    stamps: Stamps = field(default=(), compare=False)

    @property
    def kind(self) -> EncoderKind:
        """The name of the encoder in this project."""
        return self.config.kind

    @property
    def width(self) -> int:
        """How many numbers a sequence becomes."""
        return self.config.hidden_size


def read_model_folder(path: Path, *, content: bool = False) -> ModelFolder:
    """Read the config in `path` and digest its files, or use the stored digests of unchanged ones.

    With `content` every byte is read in any case. Raises IntegrityError if a file is missing or the config is not
    that of a known encoder.
    """
    config = read_config(path)
    names = files_of(config)
    for name in names:
        require_file(path / name)
    known = None if content else _known_digests(path)
    if (
        known is None
        or set(known.sha256) != set(names)
        or not are_unchanged(path, tuple(known.stamps.items()))
    ):
        known = _digested(path, names)
    return ModelFolder(path, config, digest_of_files(known.sha256.items()), tuple(known.stamps.items()))


def are_unchanged(folder: Path, stamps: Stamps) -> bool:
    """Whether the files of a model folder have these stamps; False if there are none."""
    return bool(stamps) and all(is_unchanged(folder / name, stamp) for name, stamp in stamps)


def files_of(config: EncoderConfig) -> tuple[str, ...]:
    """The names of the files of a folder of this encoder, sorted."""
    return tuple(sorted((CONFIG_FILE, WEIGHTS_FILE, *ENCODERS[config.kind].extra_files)))


def read_config(folder: Path) -> EncoderConfig:
    """The config in `folder`; IntegrityError if it is missing or not that of a known encoder."""
    path = folder / CONFIG_FILE
    require_file(path)
    try:
        return ENCODER_CONFIG.validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            path,
            found=describe_validation_error(error),
            expected="the config of an ESM-2 (model_type esm2) or a DNABERT-S (model_type bert)",
            advice="Correct the file or fetch the model again.",
        ) from error


def require_file(path: Path) -> None:
    """Raise IntegrityError if the model file at `path` is missing, or is the remainder of a failed download."""
    if not path.is_file():
        raise IntegrityError(
            path,
            found="no file",
            expected="a file of the model",
            advice="Check the folder or fetch the model again.",
        )
    with path.open("rb") as file:
        start = file.read(64).lstrip()
        is_empty = file.tell() == 0
    left = next((found for magic, found in _FAILED_DOWNLOADS.items() if start.startswith(magic)), None)
    if left or is_empty:
        raise IntegrityError(
            path,
            found=f"{left or 'an empty file'}",
            expected="a file of the model",
            advice=f"Fetch it again{' with `git lfs pull`' if left == _LFS_POINTER else ''}.",
        )


def _known_digests(folder: Path) -> _KnownDigests | None:
    try:
        return read_manifest(folder / DIGESTS_FILE, _KnownDigests)
    except IntegrityError:
        # There are none, or they are damaged: the files are digested.
        return None


def _digested(folder: Path, names: tuple[str, ...]) -> _KnownDigests:
    """Digest the files of a model; those of a large one are stored if the folder is writable."""
    paths = [folder / name for name in names]
    is_large = sum(path.stat().st_size for path in paths) >= LARGE
    if is_large and not all(map(stamp_of, paths)):
        # They were written just now, by an import or a copy.
        time.sleep(SETTLED)
    stamps = {path.name: stamp_of(path) for path in paths}
    known = _KnownDigests(sha256={path.name: sha256_of_file(path) for path in paths}, stamps=stamps)
    if is_large and are_unchanged(folder, tuple(stamps.items())):
        # Without permission to write they are computed again: storing them only saves time.
        with suppress(OSError):
            write_manifest(folder / DIGESTS_FILE, known)
    return known
