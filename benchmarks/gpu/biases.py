"""Attention with DNABERT-S's biases: dense runs, the same by cuDNN, FlexAttention, and flash-attn if it is installed.

Each way computes whole packs. `new lengths` are packs with other numbers of sequences of each length
every time, as reads bring them; `one pack` is the same pack again and again, for which plans and
compilations are there already.
"""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import cosine_similarity

from benchmarks.gpu.models import Config, Variant, make_encoder, pack_of
from benchmarks.gpu.timing import seconds_each, wait_for
from virnucpro_assets.models import attention
from virnucpro_assets.models.attention import Alibi, Attend
from virnucpro_assets.models.packs import TokenPack

SHORTEST, LONGEST, BUDGET, PACKS, FIRST = 54, 74, 32768, 24, 4


def measure(config: Config, device: torch.device, seconds: float) -> dict[str, dict[str, float]]:
    """Tokens a second of each way, with its least cosine to dense runs."""
    on_gpu = device.type == "cuda"
    encoder = make_encoder(config, Variant("float16" if on_gpu else "float32", fused=on_gpu), device)
    again = next(_packs(0, device))
    expected = encoder.embed(again)
    found = {}
    for number, (name, way) in enumerate(_ways(device).items()):
        encoder.model._attend = way
        rate = _rate_of_new_lengths(encoder.embed, _packs(1 + number, device), device)
        took = seconds_each({name: lambda: encoder.embed(again)}, device, seconds)[name]
        cosines = cosine_similarity(encoder.embed(again).double(), expected.double(), dim=1)
        found[name] = {
            "new lengths, tokens a second": rate,
            "one pack, tokens a second": round(len(again.tokens) / took),
            "least cosine": cosines.min().item(),
        }
    return found


def _ways(device: torch.device) -> dict[str, Attend]:
    ways: dict[str, Attend] = {"dense runs": attention.attend_dense_runs}
    if device.type == "cuda":
        ways |= {"dense runs by cuDNN": _by_cudnn, "FlexAttention": _Flex()}
        if find_spec("flash_attn") is not None:
            ways["flash-attn"] = attention.attend_flash
    return ways


def _packs(seed: int, device: torch.device) -> Iterator[TokenPack]:
    draw = np.random.default_rng(seed)
    while True:
        lengths = draw.integers(SHORTEST, LONGEST + 1, BUDGET // LONGEST)
        yield pack_of(-np.sort(-lengths).astype(np.int64), device)


def _rate_of_new_lengths(
    embed: Callable[[TokenPack], Any], packs: Iterator[TokenPack], device: torch.device
) -> int:
    """Tokens a second of some packs after the first ones."""
    for _ in range(FIRST):
        embed(next(packs))
    chosen = [next(packs) for _ in range(PACKS)]
    wait_for(device)
    started = time.perf_counter()
    for pack in chosen:
        embed(pack)
    wait_for(device)
    return round(sum(len(pack.tokens) for pack in chosen) / (time.perf_counter() - started))


def _by_cudnn(qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return attention._attend_dense_runs(qkv, pack, alibi)


class _Flex:
    """FlexAttention over a whole pack; which blocks of a pack can see each other is found once for all layers."""

    def __init__(self) -> None:
        self._flex = torch.compile(flex_attention, dynamic=True)
        self._mask_of: tuple[TokenPack, BlockMask] | None = None

    def __call__(self, qkv: torch.Tensor, pack: TokenPack, alibi: Alibi | None) -> torch.Tensor:
        if alibi is None:
            raise ValueError("this way is for an encoder with biases")
        slopes = alibi.slopes

        def biased(score: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
            return score - slopes[head] * (query - key).abs()

        query, key, value = (part.transpose(0, 1)[None] for part in qkv.unbind(1))
        mixed: torch.Tensor = self._flex(query, key, value, score_mod=biased, block_mask=self._mask(pack))
        return mixed[0].transpose(0, 1).flatten(1)

    def _mask(self, pack: TokenPack) -> BlockMask:
        if self._mask_of is None or self._mask_of[0] is not pack:
            lengths = torch.from_numpy(pack.lengths).to(pack.tokens.device)
            sequence = torch.repeat_interleave(torch.arange(len(pack), device=lengths.device), lengths)

            def together(batch: Any, head: Any, query: Any, key: Any) -> Any:
                return sequence[query] == sequence[key]

            total = len(pack.tokens)
            mask = create_block_mask(together, None, None, total, total, device=str(pack.tokens.device))
            self._mask_of = (pack, mask)
        return self._mask_of[1]
