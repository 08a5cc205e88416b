"""Beside it: transformers' EsmModel and fair-esm's own module, same shape, same precision, same sequences.

EsmModel gets sorted, padded batches of as many tokens as our packs and PyTorch's own attention.
fair-esm's module is run as the original program runs it, in batches of at most 2,048 tokens,
only in half precision. Both give a mean over the residues of each sequence, on the device.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from esm.model.esm2 import ESM2
from transformers import EsmConfig, EsmModel

from benchmarks.gpu.models import Variant, equal_lengths, make_encoder, mixed_lengths
from benchmarks.gpu.timing import seconds_each
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.packs import TokenPack

ORIGINAL_BUDGET = 2048
PADDING = 1


def measure(config: Esm2Config, device: torch.device, budget: int, seconds: float) -> list[dict[str, Any]]:
    """Tokens a second of each, and how many times as fast ours is."""
    variant = Variant("float16", "varlen", fused=True) if device.type == "cuda" else Variant("float32")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    ours = make_encoder(config, variant, device)
    others = {
        "transformers EsmModel": (_transformers(config, dtype, device), budget),
        "fair-esm": (_fair_esm(config, dtype, device), ORIGINAL_BUDGET),
    }
    rows = []
    for name, pack in {
        "52": equal_lengths(52, budget, device),
        "170": equal_lengths(170, budget, device),
        "30 to 100": mixed_lengths(30, 100, budget, device),
    }.items():
        works: dict[str, Callable[[], object]] = {"ours": partial(ours.embed, pack)}
        for other, (embed, most) in others.items():
            batches = list(_padded(pack, most))
            works[other] = lambda embed=embed, batches=batches: [embed(*batch) for batch in batches]
        found = seconds_each(works, device, seconds)
        row: dict[str, Any] = {"tokens a sequence": name}
        row |= {f"{work}, tokens a second": round(len(pack.tokens) / took) for work, took in found.items()}
        row |= {f"times {other}": round(found[other] / found["ours"], 2) for other in others}
        rows.append(row)
    return rows


def _padded(pack: TokenPack, budget: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches [n, longest] of token ids and of whether a token counts, cut when the padded size is over budget."""
    starts, batch = pack.bounds.tolist(), list[torch.Tensor]()
    for start, stop in pairwise(starts):
        sequence = pack.tokens[start:stop]
        if batch and (len(batch) + 1) * len(batch[0]) > budget:
            yield _stacked(batch)
            batch = []
        batch.append(sequence)
    yield _stacked(batch)


def _stacked(batch: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=PADDING)
    return ids, ids != PADDING


def _means(hidden: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    counted = real.clone()
    counted[:, 0] = False
    counted[torch.arange(len(real)), real.sum(1) - 1] = False
    return (hidden.float() * counted[..., None]).sum(1) / counted.sum(1, keepdim=True)


Embed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _transformers(config: Esm2Config, dtype: torch.dtype, device: torch.device) -> Embed:
    shape = EsmConfig(
        vocab_size=33,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=4 * config.hidden_size,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
        pad_token_id=PADDING,
        mask_token_id=32,
        attn_implementation="sdpa",
    )
    with torch.device(device):
        model = EsmModel(shape, add_pooling_layer=False).to(dtype).eval()

    def embed(ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        return _means(model(ids, attention_mask=real.long()).last_hidden_state, real)

    return embed


def _fair_esm(config: Esm2Config, dtype: torch.dtype, device: torch.device) -> Embed:
    with torch.device(device):
        model = ESM2(config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    model = model.to(dtype).eval()
    last = config.num_hidden_layers

    def embed(ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        return _means(model(ids, repr_layers=[last])["representations"][last], real)

    return embed
