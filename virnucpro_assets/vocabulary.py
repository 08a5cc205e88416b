"""The few words that every part of the engine shares."""

from typing import Literal

EncoderKind = Literal["dnabert_s", "esm2"]
Precision = Literal["float32", "bfloat16", "float16"]

ENCODER_KINDS: tuple[EncoderKind, ...] = ("dnabert_s", "esm2")
"""In the order in which their numbers stand in a merged row: DNA first."""

Route = Literal["joint", "dna", "protein"]
"""By which embeddings a read was scored: both side by side, or those of one encoder alone."""

Attention = Literal["dense-runs", "varlen", "flash", "plain"]
"""Which kernel lets the tokens of a sequence see each other: dense products over runs of equal length, which
every device has; PyTorch's kernel for sequences of varying length; that of the flash-attn package; or
none at all, written out and one sequence at a time, as VirNucPro computes."""

Label = Literal["virus", "others"]
"""What a sequence is, or is called."""

LABELS: tuple[Label, ...] = ("virus", "others")

WhenBusy = Literal["wait", "refuse"]
"""What to do while another process owns a device or writes the same results."""

QuarantinePolicy = Literal["fail", "not_scored"]
"""What becomes of a rank with sequences that cannot be embedded: it fails, or goes on without them."""

QuarantineReason = Literal["not_finite", "out_of_memory", "kills_process"]
"""Why a sequence cannot be embedded: NaN or Inf also in float32, too large for the device, or it ends its process."""
