"""An encoder as its authors publish it, with our names of tensors, and the checks of every such file."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.configs import EncoderConfig
from virnucpro_assets.models.weights import State

STORED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


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
            expected=f"the same {len(layers)} times",
            advice="Fetch the model again.",
        )
    return layers[0] if layers else None
