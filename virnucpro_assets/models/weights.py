"""Weights files: safetensors, of which every name and shape is checked before any number is read.

Tensors are read in the order of the file, some in advance, copied to the device and converted there; the file is not
mapped, so there is no second copy in memory. They are written without a copy in between, byte for byte as the library
writes them; the library's own writer makes a file that only its owner may read, and reports a full disk without an
error number.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from virnucpro_assets.errors import IntegrityError, counted, excerpt
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.models.file_reading import StoredTensor, read_tensors
from virnucpro_assets.models.folders import require_file

Shapes = Mapping[str, tuple[int, ...]]
State = dict[str, torch.Tensor]

_NAMED_AT_MOST = 5

_CODES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
"""The names of dtypes in a header."""

_DTYPES = {code: dtype for dtype, code in _CODES.items()} | {"F64": torch.float64, "I32": torch.int32}


def _none(_name: str) -> bool:
    return False


def read_weights(
    path: Path,
    expected: Shapes,
    *,
    optional: Shapes | None = None,
    ignored: Callable[[str], bool] = _none,
    dtype: torch.dtype,
    device: torch.device | str,
) -> State:
    """Read the tensors named in `expected` from `path`, one by one, as `dtype` onto `device`.

    Those named in `optional` are read as float32 where the file has them; tensors of integers keep
    their dtype. Raises IntegrityError when the file is missing or damaged, lacks a name, has one
    that is none of these nor `ignored`, or another shape.
    """
    optional = optional or {}
    return {
        name: _converted(tensor, torch.float32 if name in optional else dtype, device)
        for name, tensor in _tensors(path, expected, optional, ignored, pinned=_is_gpu(device))
    }


@torch.no_grad()
def fill_weights(
    path: Path,
    targets: Mapping[str, torch.Tensor],
    *,
    optional: Collection[str] = (),
    ignored: Callable[[str], bool] = _none,
) -> None:
    """Copy the tensors named in `targets` from `path`, one by one, each into its target.

    A target has the dtype and the device to convert to, and may be a part of a larger tensor, so that nothing has to be
    concatenated later. One named in `optional` keeps its numbers if the file does not have it. Raises IntegrityError as
    `read_weights` does.
    """
    shapes = {name: tuple(target.shape) for name, target in targets.items()}
    exact = {name: shapes.pop(name) for name in optional}
    pinned = any(map(_is_gpu, {target.device for target in targets.values()}))
    for name, tensor in _tensors(path, shapes, exact, ignored, pinned=pinned):
        targets[name].copy_(tensor, non_blocking=True)


def _tensors(
    path: Path, expected: Shapes, optional: Shapes, ignored: Callable[[str], bool], *, pinned: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors as stored, in the order of the file; every name and shape is checked first."""
    require_file(path)
    try:
        # The library checks that the header is whole and fits the file.
        with safe_open(path, framework="pt", device="cpu", backend="pread") as file:
            names = file.offset_keys()
    except SafetensorError as error:
        raise damaged_safetensors(path, error) from error
    header, first = _header(path)
    found = {name: tuple(header[name]["shape"]) for name in names}
    present = {name: shape for name, shape in optional.items() if name in found}
    check_shapes(path, found, {**expected, **present}, ignored=ignored)
    chosen = [
        _stored(path, name, header[name], first) for name in names if name in expected or name in present
    ]
    yield from read_tensors(path, chosen, pinned=pinned)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a checked file, and the position of the first number."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(size)), 8 + size


def _stored(path: Path, name: str, entry: Mapping[str, Any], first: int) -> StoredTensor:
    if entry["dtype"] not in _DTYPES:
        raise IntegrityError(
            path,
            found=f"{name} of {entry['dtype']}",
            expected=f"one of {', '.join(_DTYPES)}",
            advice="Use the weights as published, not quantised ones.",
        )
    start, stop = entry["data_offsets"]
    return StoredTensor(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]), first + start, first + stop)


def _is_gpu(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def damaged_safetensors(path: Path, error: SafetensorError) -> IntegrityError:
    """The error for a file of a model that the library refuses."""
    return IntegrityError(
        path,
        found=f"a damaged file ({excerpt(error)})",
        expected="safetensors",
        advice="Fetch the model again.",
    )


def empty_embedding(rows: int, width: int) -> nn.Embedding:
    """An embedding of [rows, width] whose numbers are not set.

    `nn.Embedding` initialises them at random, which on the meta device imports torch's compiler: that takes seconds.
    """
    empty: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call] # torch has no types here
        torch.empty(rows, width), freeze=False
    )
    return empty


def write_weights(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write `state` to `path` atomically: eight bytes of length, a JSON header, the numbers.

    As in the library, tensors are sorted by width of their numbers, widest first, then by name, and the header is
    padded to a multiple of eight bytes. No tensor is copied.
    """
    names = sorted(state, key=lambda name: (-state[name].itemsize, name))
    header, end = {}, 0
    for name in names:
        tensor, start = state[name], end
        end = start + tensor.nbytes
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            numbers = state[name].detach().cpu().contiguous().view(-1).view(torch.uint8)
            stream.write(numbers.numpy().data)


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
            path,
            found=excerpt("; ".join(filter(None, complaints))),
            expected=f"the {counted(len(expected), 'tensor')} that the config beside it describes",
            advice="Use the weights and the config of one model.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _converted(tensor: torch.Tensor, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    # Converted on the device, which is faster than the processor.
    moved = tensor.to(device, non_blocking=True)
    return moved.to(dtype) if moved.is_floating_point() else moved
