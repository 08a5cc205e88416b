"""The authors' classifiers, `300_model.pth` and `500_model.pth`, brought to our names.

`train.py` of VirNucPro (Li et al. 2025) saves the whole module, whose class MLPClassifier lived in
`__main__` and has `hidden_layer`, `bn1`, `output_layer` and `dropout`. What such a file must hold
is checked part by part; the numbers are then those of `Classifier`.
"""

from pathlib import Path
from typing import Any

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.classifier import HIDDEN_WIDTH, classifier_shapes
from virnucpro_assets.models.formats.pickled_module import (
    Numbers,
    Part,
    PickledModule,
    read_pickled_module,
)
from virnucpro_assets.models.formats.published import check_numbers
from virnucpro_assets.models.weights import State, check_shapes

LEGACY_CLASS = "__main__ MLPClassifier"

EPSILON = 1e-5

_NAMED_AT_MOST, _LONGEST_LIST = 8, 200
_PARTS = {"hidden_layer": "Linear", "bn1": "BatchNorm1d", "output_layer": "Linear", "dropout": "Dropout"}


def read_legacy_classifier(path: Path) -> State:
    """The tensors of the classifier in `path`, named as in `Classifier`.

    Raises IntegrityError if the file is missing, damaged, another network, or holds anything else;
    nothing of it has run then.
    """
    module = read_pickled_module(path, LEGACY_CLASS)
    parts = _dict_of(module, module.root, "_modules")
    found = {name: part.kind if isinstance(part, Part) else "" for name, part in parts.items()}
    if found != _PARTS or _own_tensors(module, module.root):
        listed = ", ".join(f"{name} {kind}" for name, kind in list(found.items())[:_NAMED_AT_MOST])
        raise _other(path, f"the parts {listed[:_LONGEST_LIST]}")
    _check_norm(path, parts["bn1"].attributes)
    state = {
        f"{part}.{name}": tensor
        for part in _PARTS
        for name, tensor in _own_tensors(module, parts[part]).items()
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    first = shapes.get("hidden_layer.weight", ())
    if len(first) != 2 or not first[1]:
        raise _other(path, f"a first layer of shape {list(first)}")
    check_shapes(path, shapes, classifier_shapes(first[1]))
    numbers = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    check_numbers(path, numbers)
    if state.keys() - numbers.keys() != {"bn1.num_batches_tracked"}:
        raise _other(path, "weights that are whole numbers")
    return state


def _own_tensors(module: PickledModule, part: Part) -> State:
    """The parameters and buffers of a part; one that is None is left out, as in a state dict."""
    held = {**_dict_of(module, part, "_parameters"), **_dict_of(module, part, "_buffers")}
    if any(numbers is not None and not isinstance(numbers, Numbers) for numbers in held.values()):
        raise _other(module.path, f"other things than tensors in a {part.kind}")
    return {name: module.tensor(numbers) for name, numbers in held.items() if numbers is not None}


def _dict_of(module: PickledModule, part: Part, name: str) -> dict[str, Any]:
    found = part.attributes.get(name)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise _other(module.path, f"a {part.kind or 'part'} without {name}")
    return found


def _check_norm(path: Path, attributes: dict[str, Any]) -> None:
    """Batch norm divides by √(variance + eps), and eps is no tensor: it must be the one we use."""
    epsilon = attributes.get("eps")
    if epsilon != EPSILON or attributes.get("affine") is not True:
        shown = epsilon if isinstance(epsilon, float) else "of another kind"
        raise _other(path, f"a batch norm with eps {shown}, or without weights")


def _other(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: found {excerpt(found)}; expected Linear, batch norm (eps 1e-05), Linear from {HIDDEN_WIDTH} to 2 and "
        "dropout. Import the file that the authors publish."
    )
