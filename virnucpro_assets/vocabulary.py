"""The few words that every part of the engine shares."""

from typing import Literal

EncoderKind = Literal["dnabert_s", "esm2"]
Precision = Literal["float32", "bfloat16", "float16"]

ENCODER_KINDS: tuple[EncoderKind, ...] = ("dnabert_s", "esm2")
"""In the order in which their numbers stand in a merged row: DNA first."""
