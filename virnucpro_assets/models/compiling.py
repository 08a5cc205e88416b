"""The kernels of a model are compiled before its first pack, as a part of loading it.

Triton compiles a kernel when it is first called, once for each width and dtype, and keeps it in a folder
that later processes read. The configurations are fixed (`gpu_kernels`): what comes out does not depend on
the pack that happened to come first.
"""

import numpy as np
import torch

from virnucpro_assets.models.packs import TokenPack

_SEQUENCES, _LENGTH = 128, 64


def warm_up(model: torch.nn.Module, device: torch.device) -> None:
    """Send one small pack through `model`, a packed encoder."""
    lengths = np.full(_SEQUENCES, _LENGTH, np.int64)
    tokens = torch.arange(_SEQUENCES * _LENGTH, device=device) % 4
    with torch.inference_mode():
        model(TokenPack(tokens, lengths))
