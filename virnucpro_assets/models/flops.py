"""Exact counts of the floating point operations of an encoder, from its config and the lengths. No torch here.

A product of [n, k] with [k, m] counts 2 · n · k · m. Counted are the matrices of the layers and
the two products of attention inside each sequence; norms, activations, rotations, softmax and
means are left out, as is usual where a rate is compared with that of matrix products.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config

_ESM2_MLP_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations in the matrices of the layers, and in attention."""

    matrices: int
    attention: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.attention


def matrix_shapes(config: Esm2Config | DnabertSConfig) -> tuple[tuple[int, int], ...]:
    """(columns in, columns out) of the products of one layer, in the order of computing."""
    width = config.hidden_size
    if isinstance(config, Esm2Config):
        inner = _ESM2_MLP_FACTOR * width
        return (width, 3 * width), (width, width), (width, inner), (inner, width)
    inner = config.intermediate_size
    return (width, 3 * width), (width, width), (width, 2 * inner), (inner, width)


def flops_per_token(config: Esm2Config | DnabertSConfig) -> int:
    """Operations that the matrices of all layers spend on a token, whatever its sequence."""
    return config.num_hidden_layers * sum(2 * inner * outer for inner, outer in matrix_shapes(config))


def count_flops(config: Esm2Config | DnabertSConfig, lengths: npt.NDArray[np.int64]) -> Flops:
    """The operations for sequences of `lengths` int64 [n] tokens, special ones included.

    Scores and weighted values of a sequence of n tokens are 2 · n² · width operations each, in
    every layer, however many heads share the width.
    """
    squares = int((lengths * lengths).sum())
    return Flops(
        matrices=int(lengths.sum()) * flops_per_token(config),
        attention=4 * squares * config.hidden_size * config.num_hidden_layers,
    )
