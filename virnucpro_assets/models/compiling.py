"""Compiling the parts of a layer, so that norms, activations and sums take one pass over the memory.

Matrix products stay those of the device's own library. The number of tokens is left open, so one
compilation serves every pack. A compiler may choose the order of a sum by the shape that it sees
first; `warm_up` shows it the same one in every process, so that numbers do not depend on the pack
that happened to come first.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from virnucpro_assets.models.packs import TokenPack

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SEQUENCES, _LENGTH = 128, 64


def compiled(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`function`, compiled when it is first called."""
    return torch.compile(function, dynamic=True)


def warm_up(model: torch.nn.Module, device: torch.device) -> None:
    """Compile what is to be compiled in `model`, a packed encoder, on one fixed pack."""
    lengths = np.full(_SEQUENCES, _LENGTH, np.int64)
    tokens = torch.arange(_SEQUENCES * _LENGTH, device=device) % 4
    with torch.inference_mode():
        model(TokenPack(tokens, lengths))
