"""Importing published files into the registry: they are read, checked, converted to safetensors, and given a card."""

from collections.abc import Mapping
from pathlib import Path

import torch

from virnucpro_assets import __version__
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import ENCODERS_OF_INPUTS, ClassifierCard, EncoderCard, Inputs, write_card
from virnucpro_assets.models.catalogue import PublishedModel, model_of_shape
from virnucpro_assets.models.classifier import save_classifier
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelFolder,
    read_config,
    read_model_folder,
)
from virnucpro_assets.models.formats.fair_esm import read_fair_esm
from virnucpro_assets.models.formats.hugging_face import (
    model_type,
    read_hugging_face_dnabert_s,
    read_hugging_face_esm2,
)
from virnucpro_assets.models.formats.legacy_classifier import read_legacy_classifier
from virnucpro_assets.models.formats.published import PublishedEncoder, check_numbers
from virnucpro_assets.models.formats.tensor_files import read_safetensors
from virnucpro_assets.models.loading import DTYPES, save_encoder
from virnucpro_assets.models.registry import InstalledModel, Registry
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind, Precision

AUTHORS_TRAINING = (
    "As its authors trained it (Li et al., Briefings in Bioinformatics 2025, bbaf224): RefSeq viruses against "
    "other RefSeq genomes, in chunks of {chunk_length} bases."
)


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


def import_classifier(
    registry: Registry,
    path: Path,
    chunk_length: int,
    name: str | None = None,
    *,
    encoders: Mapping[EncoderKind, Path] | None = None,
    replace: bool = False,
) -> InstalledModel:
    """Install the authors' classifier in `path` for chunks of this length.

    With the model folders of its `encoders` it is bound to their digests; otherwise their published names are noted,
    for which only its width is evidence. A classifier with the width of one encoder uses the embeddings of that one
    only. Raises InputError if width and encoders do not fit, IntegrityError if the file is not such a classifier.
    """
    state = read_legacy_classifier(path)
    width = state["hidden_layer.weight"].shape[1]
    bound = {kind: read_model_folder(folder) for kind, folder in (encoders or {}).items()}
    widths = _widths(bound)
    inputs = _inputs(path, width, widths, bound)
    used = ENCODERS_OF_INPUTS[inputs]
    card = ClassifierCard(
        chunk_length=chunk_length,
        d_dna=widths["dnabert_s"],
        d_protein=widths["esm2"],
        encoders={kind: bound[kind].digest for kind in used if kind in bound},
        encoder_names={kind: ENCODERS[kind].classifier_model for kind in used if kind not in bound},
        precision="float32",
        inputs=inputs,
        training_data=AUTHORS_TRAINING.format(chunk_length=chunk_length),
        note=f"Imported from {path.name}, SHA-256 {sha256_of_file(path)}.",
        created_with=__version__,
    )
    name = name or f"classifier_{chunk_length}{'' if inputs == 'both' else f'_{inputs}'}"
    with registry.installing(name, replace=replace) as folder:
        save_classifier(folder, state, card)
    return registry.model(name)


def _widths(bound: Mapping[EncoderKind, ModelFolder]) -> dict[EncoderKind, int]:
    for kind, folder in bound.items():
        if folder.kind != kind:
            raise InputError(
                folder.path, found=f"a model of kind {folder.kind}", expected=kind, advice="Give another."
            )
    return {
        kind: bound[kind].width if kind in bound else spec.classifier_width for kind, spec in ENCODERS.items()
    }


def _inputs(
    path: Path, width: int, widths: Mapping[EncoderKind, int], bound: Mapping[EncoderKind, ModelFolder]
) -> Inputs:
    """Which embeddings a classifier of this width uses; if two encoders have this width, the one that was given."""
    fitting = [
        inputs for inputs, kinds in ENCODERS_OF_INPUTS.items() if sum(widths[kind] for kind in kinds) == width
    ]
    if len(fitting) > 1:
        fitting = [inputs for inputs in fitting if ENCODERS_OF_INPUTS[inputs] == tuple(bound)]
    if fitting:
        return fitting[0]
    sizes = [f"{widths[kind]} of {kind}" for kind in ENCODER_KINDS]
    raise InputError(
        path,
        found=f"a classifier of {width} numbers per row",
        expected=" + ".join(sizes) + ", or one of the two",
        advice="Name the encoders that it was trained with, with --dnabert-s and --esm2.",
    )


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
