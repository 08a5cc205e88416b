"""Weights files: safetensors whose every name and shape is checked before a number is read."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import write_bytes
from virnucpro_assets.models.folders import require_file

Shapes = Mapping[str, tuple[int, ...]]
State = dict[str, torch.Tensor]

_NAMED_AT_MOST = 5


def _none(_name: str) -> bool:
    return False


def read_weights(
    path: Path,
    expected: Shapes,
    *,
    ignored: Callable[[str], bool] = _none,
    dtype: torch.dtype,
    device: torch.device | str,
) -> State:
    """Read the tensors named in `expected` from `path`, one by one, as `dtype` onto `device`.

    Tensors of integers keep their dtype. Raises IntegrityError when the file is missing or
    damaged, lacks a name, has one that is neither expected nor `ignored`, or another shape.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            check_shapes(path, found, expected, ignored=ignored)
            return {name: _converted(file.get_tensor(name), dtype, device) for name in expected}
    except SafetensorError as error:
        raise IntegrityError(
            f"{path}: found a damaged file ({error}); expected safetensors. Fetch the model again."
        ) from error


def write_weights(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write `state` to `path` in one piece."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def check_shapes(
    path: Path, found: Shapes, expected: Shapes, *, ignored: Callable[[str], bool] = _none
) -> None:
    """Raise IntegrityError unless `found` has the names and shapes of `expected`, `ignored` names aside."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected and not ignored(name)]
    wrong = [name for name in expected if name in found and found[name] != expected[name]]
    complaints = [
        f"missing tensors {_some(missing)}" if missing else "",
        f"unknown tensors {_some(unknown)}" if unknown else "",
        *(
            f"{name} of shape {list(found[name])} where {list(expected[name])} was expected"
            for name in wrong[:1]
        ),
    ]
    if any(complaints):
        raise IntegrityError(
            f"{path}: found {'; '.join(filter(None, complaints))}; expected the {len(expected)} tensors that "
            "the config beside it describes. Use the weights and the config of one model."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _converted(tensor: torch.Tensor, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    # A copy in every case: a tensor that stays mapped to the file would change or fault with it.
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
