"""How large an encoder is, from its shape alone. No torch here."""

from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.vocabulary import Precision

BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of one number."""

_ESM2_VOCABULARY = 33


def count_parameters(config: Esm2Config | DnabertSConfig) -> int:
    """How many numbers the encoder has, heads that have no part in an embedding left out."""
    layers, width = config.num_hidden_layers, config.hidden_size
    if isinstance(config, Esm2Config):
        # Attention 4 (w² + w), MLP 8 w² + 5 w, two norms 4 w; embedding and last norm beside the layers.
        return layers * (12 * width * width + 13 * width) + (_ESM2_VOCABULARY + 2) * width
    inner = config.intermediate_size
    # Attention 4 (w² + w), the gated MLP 3 w i + w, two norms 4 w.
    return (
        layers * (4 * width * width + 3 * width * inner + 9 * width)
        + (config.vocab_size + config.type_vocab_size + 2) * width
    )


def weights_bytes(config: Esm2Config | DnabertSConfig, precision: Precision) -> int:
    """Bytes of the weights in a precision."""
    return count_parameters(config) * BYTES[precision]


def pack_bytes(config: Esm2Config | DnabertSConfig, precision: Precision, tokens: int) -> int:
    """Bytes that one pack of `tokens` needs beside the weights, roughly: where a layer holds most.

    That is in its MLP: the tokens before it, its input, and what it widens them to before and after
    its non-linearity, which makes 4 times the width twice for ESM-2 and, for DNABERT-S, gate and
    value together and their product.
    """
    inner = 4 * config.hidden_size if isinstance(config, Esm2Config) else config.intermediate_size
    widened = 2 * inner if isinstance(config, Esm2Config) else 4 * inner
    return tokens * (3 * config.hidden_size + widened) * BYTES[precision]
