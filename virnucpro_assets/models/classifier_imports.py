"""Importing the authors' classifiers, `300_model.pth` and `500_model.pth`, into the registry.

`train.py` of VirNucPro (Li et al. 2025) saves the whole module with `torch.save`: a pickle that names the module's
classes. It is loaded with `weights_only`, and a stub without code stands in for each of these classes: no module is
made, and nothing of the file runs. Then every part of it is checked. The tensors have the names of `Classifier`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from virnucpro_assets import __version__
from virnucpro_assets.errors import InputError, IntegrityError, counted, excerpt
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import CARD_FILE, ENCODERS_OF_INPUTS, ClassifierCard, Inputs
from virnucpro_assets.models.classifier import HIDDEN_WIDTH, classifier_shapes, save_classifier
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.folders import ModelFolder, read_model_folder
from virnucpro_assets.models.registry import InstalledModel, Registry
from virnucpro_assets.models.tensor_files import check_numbers, read_torch_file, require_state
from virnucpro_assets.models.weights import State, check_shapes
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

AUTHORS_TRAINING = (
    "As its authors trained it (Li et al., Briefings in Bioinformatics 2025, bbaf224): RefSeq viruses against "
    "other RefSeq genomes, in chunks of {chunk_length} bases."
)
EPSILON = 1e-5

_NAMED_AT_MOST, _LONGEST_LIST = 8, 200
_PARTS = {"hidden_layer": "Linear", "bn1": "BatchNorm1d", "output_layer": "Linear", "dropout": "Dropout"}


class ModuleStub:
    """Loaded in place of a module: its attributes, and no code."""

    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module whose attributes are not a dict")
        self.attributes = state


STUBS = [
    # The file's names are compared with module and name of a class.
    type(name, (ModuleStub,), {"__module__": module})
    for module, name in (
        ("__main__", "MLPClassifier"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch.nn.modules.batchnorm", "BatchNorm1d"),
        ("torch.nn.modules.dropout", "Dropout"),
    )
]


def read_legacy_classifier(path: Path) -> State:
    """The tensors of the classifier in `path`, named as in `Classifier`, in memory of their own.

    Raises IntegrityError if the file is missing, damaged, another network, or holds anything else; no code of the file
    has run then.
    """
    root = read_torch_file(path, admitted=STUBS)
    if not isinstance(root, ModuleStub) or _kind(root) != "MLPClassifier":
        raise _refused(path, f"a {_kind(root)}, not a MLPClassifier")
    modules = _dict_of(path, root, "_modules")
    kinds = {name: _kind(module) for name, module in modules.items()}
    if kinds != _PARTS or _tensors_of(path, root):
        listed = ", ".join(f"{name} {kind}" for name, kind in list(kinds.items())[:_NAMED_AT_MOST])
        raise _refused(path, f"the parts {listed[:_LONGEST_LIST]}")
    _check_norm(path, modules["bn1"])
    state = {
        f"{part}.{name}": tensor
        for part in _PARTS
        for name, tensor in _tensors_of(path, modules[part]).items()
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    first = shapes.get("hidden_layer.weight", ())
    if len(first) != 2 or not first[1]:
        raise _refused(path, f"a first layer of shape {list(first)}")
    check_shapes(path, shapes, classifier_shapes(first[1]))
    for name, tensor in state.items():
        expected = torch.int64 if name == "bn1.num_batches_tracked" else torch.float32
        # Overlapping numbers could be of any count, however small the file is.
        if tensor.dtype != expected or not tensor.is_contiguous():
            raise _refused(path, f"{name} of {tensor.dtype} with strides {tensor.stride()}")
    state = {name: tensor.detach().clone() for name, tensor in state.items()}
    check_numbers(path, {name: tensor for name, tensor in state.items() if tensor.is_floating_point()})
    return state


def _kind(module: Any) -> str:
    return type(module).__name__


def _tensors_of(path: Path, module: ModuleStub) -> State:
    """The parameters and buffers of a module; one that is None is left out, as in a state dict."""
    tensors = {**_dict_of(path, module, "_parameters"), **_dict_of(path, module, "_buffers")}
    return require_state(path, {name: tensor for name, tensor in tensors.items() if tensor is not None})


def _dict_of(path: Path, module: ModuleStub, name: str) -> dict[str, Any]:
    found = getattr(module, "attributes", {}).get(name)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise _refused(path, f"a {_kind(module)} without {name}")
    return found


def _check_norm(path: Path, norm: ModuleStub) -> None:
    """Batch norm divides by √(variance + eps), and eps is no tensor: it must be the one of `Classifier`."""
    epsilon = norm.attributes.get("eps")
    if epsilon != EPSILON or norm.attributes.get("affine") is not True:
        shown = epsilon if isinstance(epsilon, float) else "of another type"
        raise _refused(path, f"a batch norm with eps {shown}, or without weights")


def _refused(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        path,
        found=excerpt(found),
        expected="a classifier as VirNucPro's train.py saves it: Linear, batch norm (eps 1e-05), Linear from "
        f"{HIDDEN_WIDTH} to 2 and dropout, in float32",
        advice="Import the file that the authors publish.",
    )


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
    folder = path if path.is_dir() else path.parent
    if (folder / CARD_FILE).is_file() and path.suffix != ".pth":
        raise InputError(
            path,
            found="a classifier of this platform",
            expected="one of the authors, a .pth file",
            advice=f"It needs no import: name it classifier_{chunk_length}, and set `classifiers` to the folder above.",
        )
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
        training_data=f"{AUTHORS_TRAINING.format(chunk_length=chunk_length)} Imported from {path.name}, SHA-256 "
        f"{sha256_of_file(path)}.",
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
        found=f"a classifier of {counted(width, 'number')} per row",
        expected=" + ".join(sizes) + ", or one of the two",
        advice="Name the encoders that it was trained with, with --dnabert-s and --esm2.",
    )
