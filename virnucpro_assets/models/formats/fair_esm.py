"""ESM-2 in fair-esm's own `.pt` files, as `esm.pretrained` reads them.

Such a file is a dict: `model` has the tensors, their names with a prefix from training, and
`cfg["model"]` the shape, an argparse.Namespace. The contact head comes in a file of its own or not
at all; the representations do not depend on the heads.
"""

import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.esm2 import FREQUENCIES, is_ignored
from virnucpro_assets.models.formats.published import PublishedEncoder, one_of_all_layers
from virnucpro_assets.models.formats.tensor_files import read_torch_file, require_state
from virnucpro_assets.models.weights import State

_PREFIX = re.compile(r"^(encoder\.sentence_encoder\.|sentence_encoder\.|encoder\.)")
_LAYER_FREQUENCIES = re.compile(r"layers\.\d+\.self_attn\.rot_emb\.inv_freq")


def read_fair_esm(path: Path) -> PublishedEncoder:
    """The ESM-2 in `path`; IntegrityError if it is damaged, another model, or holds foreign classes."""
    content = read_torch_file(path, admitted=[Namespace])
    if not isinstance(content, dict) or not {"cfg", "model"} <= content.keys():
        raise IntegrityError(
            path,
            found="no cfg and model",
            expected="an ESM-2 file of fair-esm",
            advice="Use a file named esm2_t…_UR50D.pt, not that of an older model or of a contact head.",
        )
    return PublishedEncoder(
        config=_config(path, content["cfg"]),
        state=_state(path, require_state(path, content["model"])),
        files=(path,),
    )


def _config(path: Path, cfg: Any) -> Esm2Config:
    shape = cfg.get("model") if isinstance(cfg, dict) else None
    fields = vars(shape) if isinstance(shape, Namespace) else {}
    if (dropout := fields.get("token_dropout")) is not True:
        raise IntegrityError(
            path,
            found=f"token_dropout {excerpt(dropout)}",
            expected="True, as every published ESM-2 has it",
            advice="Use a published model.",
        )
    try:
        # ValidationError is a ValueError.
        return Esm2Config(
            num_hidden_layers=fields["encoder_layers"],
            hidden_size=fields["encoder_embed_dim"],
            num_attention_heads=fields["encoder_attention_heads"],
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            path,
            found=f"no shape of an ESM-2 ({excerpt(str(error).splitlines()[0])})",
            expected="encoder_layers, encoder_embed_dim and encoder_attention_heads",
            advice="Use a published model.",
        ) from error


def _state(path: Path, tensors: State) -> State:
    named = {_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}
    state = {
        name: tensor
        for name, tensor in named.items()
        if not is_ignored(name) and not _LAYER_FREQUENCIES.fullmatch(name)
    }
    frequencies = one_of_all_layers(
        path, (tensor for name, tensor in named.items() if _LAYER_FREQUENCIES.fullmatch(name))
    )
    return state if frequencies is None else state | {FREQUENCIES: frequencies}
