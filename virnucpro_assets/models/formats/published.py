"""An encoder as its authors publish it, brought to our names, and what every such file must fulfil."""

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
    """What a model folder is made from: `state` is named as there, its tensors mapped to the files.

    `files` are those that were read, `tokenizer_json` the text of a DNA model's tokeniser.
    """

    config: EncoderConfig
    state: State
    files: tuple[Path, ...]
    tokenizer_json: str | None = None


def check_numbers(path: Path, state: State) -> None:
    """Raise IntegrityError unless every tensor is of a precision that models are stored in, and finite."""
    for name, tensor in state.items():
        if tensor.dtype not in STORED_DTYPES:
            raise IntegrityError(
                f"{path}: found {excerpt(name)} of {tensor.dtype}; expected float32, bfloat16 or float16. "
                "Use the weights as published, not quantised ones."
            )
        if not tensor.isfinite().all():
            raise IntegrityError(
                f"{path}: found numbers that are not finite in {excerpt(name)}; expected finite weights. "
                "Fetch the model again."
            )


def one_of_all_layers(path: Path, frequencies: Iterable[torch.Tensor]) -> torch.Tensor | None:
    """The rotary frequencies that every layer of a file has, as float32; None for a file without any.

    Raises IntegrityError if they differ: published models have the same in every layer.
    """
    layers = [tensor.float() for tensor in frequencies]
    if any(not torch.equal(layers[0], other) for other in layers):
        raise IntegrityError(
            f"{path}: found rotary frequencies that differ by layer; expected the same {len(layers)} times. "
            "Fetch the model again."
        )
    return layers[0] if layers else None
