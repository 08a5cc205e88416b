"""Model folders: config.json, model.safetensors and, for DNA, tokenizer.json. No torch here.

A folder's identity is its digest: SHA-256 over its files' names and SHA-256s, so one changed
byte of the weights, the shape or the tokeniser makes another model.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from virnucpro_assets.errors import IntegrityError, describe_validation_error
from virnucpro_assets.files.digests import digest_of_files, sha256_of_file
from virnucpro_assets.models.configs import ENCODER_CONFIG, DnabertSConfig, Esm2Config
from virnucpro_assets.vocabulary import EncoderKind

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

_LFS_POINTER = "a Git LFS pointer"
_FAILED_DOWNLOADS = {
    b"version https://git-lfs": _LFS_POINTER,
    b"<": "a web page, which a server sent in its place",
    b'{"error"': "the error of a server",
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What can be known of an encoder without loading it."""

    path: Path
    config: Esm2Config | DnabertSConfig
    digest: str

    @property
    def kind(self) -> EncoderKind:
        """Which encoder it is."""
        return self.config.kind

    @property
    def width(self) -> int:
        """How many numbers a sequence becomes."""
        return self.config.hidden_size


def read_model_folder(path: Path) -> ModelFolder:
    """Read the config in `path` and digest its files.

    Every byte is read at every call: nothing but the content tells whether a file is what it was.
    So ask once and hand the answer on. Raises IntegrityError when a file is missing or the config
    describes no known encoder.
    """
    config = read_config(path)
    return ModelFolder(path, config, _digest([path / name for name in files_of(config)]))


def files_of(config: Esm2Config | DnabertSConfig) -> tuple[str, ...]:
    """The names of the files that make a folder of this encoder, sorted."""
    dna = (TOKENIZER_FILE,) if config.kind == "dnabert_s" else ()
    return tuple(sorted((CONFIG_FILE, WEIGHTS_FILE, *dna)))


def read_config(folder: Path) -> Esm2Config | DnabertSConfig:
    """The config in `folder`; IntegrityError when it is missing or describes no known encoder."""
    path = folder / CONFIG_FILE
    require_file(path)
    try:
        return ENCODER_CONFIG.validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path}: found {describe_validation_error(error)}; expected the config of an ESM-2 "
            "(model_type esm2) or a DNABERT-S (model_type bert). Mend the file or fetch the model again."
        ) from error


def require_file(path: Path) -> None:
    """Raise IntegrityError unless the model file at `path` is there, and is not what failed downloads leave."""
    if not path.is_file():
        raise IntegrityError(
            f"{path}: found no file; expected a file of the model. Check the folder or fetch the model again."
        )
    with path.open("rb") as file:
        start = file.read(64).lstrip()
        is_empty = file.tell() == 0
    left = next((found for magic, found in _FAILED_DOWNLOADS.items() if start.startswith(magic)), None)
    if left or is_empty:
        raise IntegrityError(
            f"{path}: found {left or 'an empty file'}; expected a file of the model. Fetch it again"
            f"{' with `git lfs pull`' if left == _LFS_POINTER else ''}."
        )


def _digest(paths: list[Path]) -> str:
    for path in paths:
        require_file(path)
    return digest_of_files((path.name, sha256_of_file(path)) for path in paths)
