"""Importing published encoders into the registry: they are read, checked, converted to safetensors, and given a card.

An encoder comes as a Hugging Face folder (`hugging_face`), as a model folder of ours, or, ESM-2 only, as fair-esm's own
`.pt` file. Such a file is a dict: `model` has the tensors, their names with a prefix from training, and `cfg["model"]`
the shape, an argparse.Namespace. The contact head comes in a file of its own or not at all; the representations do not
depend on the heads.
"""

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from virnucpro_assets import __version__
from virnucpro_assets.errors import InputError, IntegrityError, excerpt
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import EncoderCard, write_card
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.encoders import PublishedModel, model_of_shape
from virnucpro_assets.models.esm2 import FREQUENCIES, is_ignored
from virnucpro_assets.models.folders import CONFIG_FILE, WEIGHTS_FILE, ModelFolder, read_config
from virnucpro_assets.models.hugging_face import (
    model_type,
    read_hugging_face_dnabert_s,
    read_hugging_face_esm2,
)
from virnucpro_assets.models.loading import DTYPES, save_encoder
from virnucpro_assets.models.registry import InstalledModel, Registry
from virnucpro_assets.models.tensor_files import (
    PublishedEncoder,
    check_numbers,
    one_of_all_layers,
    read_safetensors,
    read_torch_file,
    require_state,
)
from virnucpro_assets.models.weights import State
from virnucpro_assets.vocabulary import Precision

_PREFIX = re.compile(r"^(encoder\.sentence_encoder\.|sentence_encoder\.|encoder\.)")
_LAYER_FREQUENCIES = re.compile(r"layers\.\d+\.self_attn\.rot_emb\.inv_freq")


def import_encoder(
    registry: Registry,
    path: Path,
    name: str | None = None,
    *,
    source: str | None = None,
    publication: PublishedModel | None = None,
    replace: bool = False,
) -> InstalledModel:
    """Install the encoder in `path`, by default under its published name or that of the file.

    `source` is its origin on the card, by default the path; `publication` is the published model of that source. The
    card calls it published only if its files have the recorded digests. Raises InputError if the name is in use or
    invalid, IntegrityError if the files are damaged or of another model.
    """
    if name:
        # Before gigabytes are read.
        registry.require_free(name, replace=replace)
    published = read_encoder(path)
    known = model_of_shape(published.config)
    name = name or (known.name if known else path.resolve().stem)
    with registry.installing(name, replace=replace) as folder:
        saved = save_encoder(
            folder, published.config, published.state, tokenizer_json=published.tokenizer_json
        )
        write_card(folder, _encoder_card(published, saved, source or str(path.absolute()), publication))
    return registry.model(name)


def _encoder_card(
    published: PublishedEncoder, saved: ModelFolder, source: str, publication: PublishedModel | None
) -> EncoderCard:
    known = publication or model_of_shape(published.config)
    digests = {path.name: sha256_of_file(path) for path in published.files}
    expected = known.sha256 if known else {}
    has_digests = bool(expected) and all(digests.get(name) == sha256 for name, sha256 in expected.items())
    is_published = known is not None and has_digests and published.config == known.config
    return EncoderCard(
        kind=saved.kind,
        model=known.name if known else "",
        is_published=is_published,
        width=saved.width,
        parameters=published.config.parameters,
        stored_as=_stored_as(published),
        digest=saved.digest,
        source=source,
        files=digests,
        licence=known.licence if known and (publication or is_published) else "not known: see its source",
        created_with=__version__,
    )


def _stored_as(published: PublishedEncoder) -> Precision:
    """The precision of the largest tensor, which is that of nearly all others."""
    largest: torch.Tensor = max(published.state.values(), key=torch.Tensor.numel)
    return next(precision for precision, dtype in DTYPES.items() if dtype == largest.dtype)


def read_encoder(path: Path) -> PublishedEncoder:
    """The encoder in a `.pt` file of fair-esm, a Hugging Face folder, or a model folder of ours.

    Raises InputError if `path` is none of these, IntegrityError if it is damaged or another model.
    """
    published = _read_published(path)
    check_numbers(path, published.state)
    return published


def _read_published(path: Path) -> PublishedEncoder:
    if path.is_file() and path.suffix == ".pt":
        return _read_fair_esm(path)
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


def _read_fair_esm(path: Path) -> PublishedEncoder:
    """The ESM-2 in `path`; IntegrityError if it is damaged, another model, or holds foreign classes."""
    content = read_torch_file(path, admitted=[Namespace])
    if not isinstance(content, dict) or not {"cfg", "model"} <= content.keys():
        raise IntegrityError(
            path,
            found="no cfg and model",
            expected="an ESM-2 file of fair-esm",
            advice="Use a file named esm2_t…_UR50D.pt, not that of an older model or of a contact head.",
        )
    return PublishedEncoder(
        config=_fair_esm_config(path, content["cfg"]),
        state=_fair_esm_state(path, require_state(path, content["model"])),
        files=(path,),
    )


def _fair_esm_config(path: Path, cfg: Any) -> Esm2Config:
    shape = cfg.get("model") if isinstance(cfg, dict) else None
    fields = vars(shape) if isinstance(shape, Namespace) else {}
    if (dropout := fields.get("token_dropout")) is not True:
        raise IntegrityError(
            path,
            found=f"token_dropout {excerpt(dropout)}",
            expected="True, as every published ESM-2 has it",
            advice="Use a published model.",
        )
    try:
        # ValidationError is a ValueError.
        return Esm2Config(
            num_hidden_layers=fields["encoder_layers"],
            hidden_size=fields["encoder_embed_dim"],
            num_attention_heads=fields["encoder_attention_heads"],
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            path,
            found=f"no shape of an ESM-2 ({excerpt(str(error).splitlines()[0])})",
            expected="encoder_layers, encoder_embed_dim and encoder_attention_heads",
            advice="Use a published model.",
        ) from error


def _fair_esm_state(path: Path, tensors: State) -> State:
    named = {_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}
    state = {
        name: tensor
        for name, tensor in named.items()
        if not is_ignored(name) and not _LAYER_FREQUENCIES.fullmatch(name)
    }
    frequencies = one_of_all_layers(
        path, (tensor for name, tensor in named.items() if _LAYER_FREQUENCIES.fullmatch(name))
    )
    return state if frequencies is None else state | {FREQUENCIES: frequencies}
