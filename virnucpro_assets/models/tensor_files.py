"""Named tensors in published files, safetensors and torch's own, and the checks of every such file.

Tensors are mapped from their file, so that a model of any size can be converted without being in memory as a whole.
torch's files are pickles: they are read with `weights_only`, which builds tensors, plain containers and explicitly
admitted classes, and refuses everything else before it runs. Compressed entries are refused as well, because a small
one can expand to any size.
"""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from virnucpro_assets.errors import IntegrityError, counted, excerpt
from virnucpro_assets.models.configs import EncoderConfig
from virnucpro_assets.models.folders import require_file
from virnucpro_assets.models.weights import State, damaged_safetensors

STORED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# The start of files of torch before 1.6: a pickle of its magic number.
_BEFORE_ARCHIVES = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OF_DAMAGED_PICKLES = (
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(struct.error, AssertionError, OverflowError),
)


def read_safetensors(path: Path) -> State:
    """The tensors of a safetensors file, mapped; IntegrityError if it is missing or damaged."""
    require_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise damaged_safetensors(path, error) from error


def read_torch_state(path: Path) -> State:
    """The tensors of a file that holds a plain dict of tensors; IntegrityError if it is anything else."""
    return require_state(path, read_torch_file(path))


def read_torch_file(path: Path, *, admitted: Sequence[type] = ()) -> Any:
    """What `torch.save` wrote to `path`: tensors, plain containers, and objects of the `admitted` classes.

    Raises IntegrityError if the file is missing or damaged, and with the names of other classes and functions if it
    refers to any; none of them has run then.
    """
    require_file(path)
    is_archive = _is_archive(path)
    if is_archive:
        _refuse_compressed(path)
    try:
        with torch.serialization.safe_globals(list(admitted)), warnings.catch_warnings():
            # About pickles of other programs or damaged ones: the errors below say what is wrong.
            warnings.simplefilter("ignore", UserWarning)
            # A file of torch before 1.6 cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to load the file without this guard.
        held = ", ".join(_foreign(path, admitted)) if is_archive else ""
        raise IntegrityError(
            path,
            found=excerpt(held or "a pickle of other things, or a damaged one"),
            expected="tensors only",
            advice="Nothing of it was run. Do not trust this file.",
        ) from error
    except _OF_DAMAGED_PICKLES as error:
        what = f"{error}".partition("\n")[0].partition(". ")[0]
        raise IntegrityError(
            path,
            found=f"a damaged file ({excerpt(what)})",
            expected="what torch.save writes",
            advice="Fetch the model again.",
        ) from error


def require_state(path: Path, found: Any) -> State:
    """`found` if it maps names to dense tensors, else IntegrityError."""
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and _is_dense(tensor) for name, tensor in found.items()
    ):
        raise IntegrityError(
            path,
            found=f"{type(found).__name__} with other things than named tensors",
            expected="a dict of tensors",
            advice="Use the weights as published.",
        )
    return dict(found)


def _is_dense(tensor: Any) -> bool:
    """Whether this is a tensor with numbers in memory: neither sparse nor without content ("meta")."""
    is_tensor = type(tensor) in {torch.Tensor, torch.nn.Parameter}
    return is_tensor and tensor.device.type == "cpu" and tensor.layout == torch.strided


def _is_archive(path: Path) -> bool:
    """Whether the file is an archive, as torch writes since 1.6; IntegrityError if it is no file of torch."""
    with path.open("rb") as file:
        start = file.read(len(_BEFORE_ARCHIVES))
    if start == _BEFORE_ARCHIVES:
        return False
    found = f"other content (bytes {start[:4].hex(' ')} …)"
    if start.startswith(b"PK"):
        if zipfile.is_zipfile(path):
            return True
        found = "a zip archive without its end, which was cut"
    raise IntegrityError(
        path, found=found, expected="what torch.save writes", advice="Fetch the model again."
    )


def _refuse_compressed(path: Path) -> None:
    """Raise IntegrityError for an archive that is not of torch, or has a compressed entry: torch makes none."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            compressed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise IntegrityError(
            path,
            found=f"a damaged archive ({excerpt(error)})",
            expected="what torch.save writes",
            advice="Fetch the file again.",
        ) from error
    if compressed:
        raise IntegrityError(
            path,
            found=f"a compressed entry, {excerpt(compressed[0])}",
            expected="what torch.save writes, which stores entries as they are",
            advice="Nothing of it was read. Do not trust this file.",
        )
    if not any(entry.filename.endswith("/data.pkl") for entry in entries):
        raise IntegrityError(
            path,
            found="a zip archive without data.pkl",
            expected="what torch.save writes",
            advice="Use the file as published.",
        )


def _foreign(path: Path, admitted: Sequence[type]) -> list[str]:
    """The names in an archive's pickle that are neither torch's own nor admitted."""
    known = {f"{one.__module__}.{one.__qualname__}" for one in admitted}
    try:
        return sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - known)
    except (pickle.UnpicklingError, *_OF_DAMAGED_PICKLES):
        return []


@dataclass(frozen=True, slots=True)
class PublishedEncoder:
    """The content of a model folder to be made: `state` has its names, with tensors mapped from the files.

    `files` are the files that were read, `tokenizer_json` is the text of a DNA model's tokeniser.
    """

    config: EncoderConfig
    state: State
    files: tuple[Path, ...]
    tokenizer_json: str | None = None


def check_numbers(path: Path, state: State) -> None:
    """Raise IntegrityError unless every tensor has a precision of STORED_DTYPES and is finite."""
    for name, tensor in state.items():
        if tensor.dtype not in STORED_DTYPES:
            raise IntegrityError(
                path,
                found=f"{excerpt(name)} of {tensor.dtype}",
                expected="float32, bfloat16 or float16",
                advice="Use the weights as published, not quantised ones.",
            )
        if not tensor.isfinite().all():
            raise IntegrityError(
                path,
                found=f"numbers that are not finite in {excerpt(name)}",
                expected="finite weights",
                advice="Fetch the model again.",
            )


def one_of_all_layers(path: Path, frequencies: Iterable[torch.Tensor]) -> torch.Tensor | None:
    """The rotary frequencies in a file, the same in every layer, as float32; None for a file without any.

    Raises IntegrityError if they differ: published models have the same in every layer.
    """
    layers = [tensor.float() for tensor in frequencies]
    if any(not torch.equal(layers[0], other) for other in layers):
        raise IntegrityError(
            path,
            found="rotary frequencies that differ by layer",
            expected=f"the same {counted(len(layers), 'time')}",
            advice="Fetch the model again.",
        )
    return layers[0] if layers else None
