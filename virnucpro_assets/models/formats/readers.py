"""Which published format a path holds, and its reader."""

from pathlib import Path

from virnucpro_assets.errors import InputError
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.folders import CONFIG_FILE, WEIGHTS_FILE, read_config
from virnucpro_assets.models.formats.fair_esm import read_fair_esm
from virnucpro_assets.models.formats.hugging_face import (
    model_type,
    read_hugging_face_dnabert_s,
    read_hugging_face_esm2,
)
from virnucpro_assets.models.formats.published import PublishedEncoder, check_numbers
from virnucpro_assets.models.formats.tensor_files import read_safetensors


def read_encoder(path: Path) -> PublishedEncoder:
    """The encoder in a `.pt` file of fair-esm, a Hugging Face folder, or a model folder of ours.

    Raises InputError if `path` is none of these, IntegrityError if it is damaged or another model.
    """
    published = _read(path)
    check_numbers(path, published.state)
    return published


def _read(path: Path) -> PublishedEncoder:
    if path.is_file() and path.suffix == ".pt":
        return read_fair_esm(path)
    if not (path / CONFIG_FILE).is_file():
        raise InputError(
            path,
            found="no file that ends in .pt and no folder with config.json",
            expected="an encoder: fair-esm's .pt file, or a Hugging Face folder",
            advice="Give the path of one. A classifier of VirNucPro ends in .pth and needs --chunk-length.",
        )
    kind = model_type(path)
    if kind == "esm":
        return read_hugging_face_esm2(path)
    if kind == "esm2":
        return _read_own_esm2(path)
    return read_hugging_face_dnabert_s(path)


def _read_own_esm2(folder: Path) -> PublishedEncoder:
    config = read_config(folder)
    assert isinstance(config, Esm2Config)
    weights = folder / WEIGHTS_FILE
    return PublishedEncoder(config, read_safetensors(weights), (folder / CONFIG_FILE, weights))
