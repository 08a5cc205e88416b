"""Memory and floating point operations of an encoder, from its config and the lengths alone. No torch here.

A product of [n, k] with [k, m] counts 2 · n · k · m operations. Counted are the matrices of the layers and the two
products of attention inside each sequence; norms, activations, rotations, softmax and means are left out, as is usual
where a rate is compared with that of matrix products.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.models.configs import EncoderConfig
from virnucpro_assets.vocabulary import Precision

BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of one number."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations in the matrices of the layers, and in attention."""

    matrices: int
    attention: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.attention


def flops_per_token(config: EncoderConfig) -> int:
    """Operations that the matrices of all layers spend on a token, whatever its sequence."""
    return config.num_hidden_layers * sum(2 * inner * outer for inner, outer in config.matrix_shapes)


def count_flops(config: EncoderConfig, lengths: npt.NDArray[np.int64]) -> Flops:
    """The operations for sequences of `lengths` int64 [n] tokens, special ones included.

    Scores and weighted values of a sequence of n tokens are 2 · n² · width operations each, in
    every layer, however many heads share the width.
    """
    squares = int((lengths * lengths).sum())
    return Flops(
        matrices=int(lengths.sum()) * flops_per_token(config),
        attention=4 * squares * config.hidden_size * config.num_hidden_layers,
    )


def weights_bytes(config: EncoderConfig, precision: Precision) -> int:
    """Bytes of the weights in a precision."""
    return config.parameters * BYTES[precision]


def pack_bytes(config: EncoderConfig, precision: Precision, tokens: int) -> int:
    """Bytes that one pack of `tokens` needs beside the weights, roughly: where a layer holds most.

    That is in its MLP: the tokens before it, its input, its output, and what it holds between its products.
    """
    return tokens * (3 * config.hidden_size + config.mlp_columns) * BYTES[precision]
