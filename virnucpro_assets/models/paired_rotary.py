"""Rotary positions where the two numbers of a pair stand side by side, as a CPU turns them fastest.

A pair is one complex number and a turn one product over contiguous memory. fair-esm pairs number
i of a head with number i + half; `pairs_side_by_side` brings the rows of a projection into the
order 0, half, 1, half + 1, … Done to queries and keys alike it leaves every score as it was.
Turned queries and keys are float32, and so is the attention over them: on a CPU its kernel is
as fast as in bfloat16, and nothing is rounded on the way.
"""

from dataclasses import dataclass

import torch

from virnucpro_assets.models.packs import TokenPack


@dataclass(frozen=True, slots=True)
class PairedRotary:
    """The turns of a pack: complex64 [total, 1, heads, head width / 2], of length one."""

    turns: torch.Tensor

    @classmethod
    def of(cls, pack: TokenPack, frequencies: torch.Tensor, heads: int) -> "PairedRotary":
        """Turns by position · frequency; `frequencies` is float32 [head width / 2]."""
        places = torch.arange(pack.longest, dtype=torch.float32)
        angles = torch.outer(places, frequencies)
        turns = torch.complex(angles.cos(), angles.sin()).repeat(1, heads)
        # Repeated for each head, because a product over one head at a time is a short one.
        return cls(turns[pack.positions].view(len(pack.tokens), 1, heads, len(frequencies)))

    def turn(self, qkv: torch.Tensor) -> torch.Tensor:
        """Turn the queries and keys of `qkv` [total, 3, heads, head width].

        Returns float32: `qkv` itself, turned in place, if it is float32.
        """
        exact = qkv.float()
        total, _, heads, head_width = exact.shape
        pairs = exact[:, :2].view(total, 2, heads, head_width // 2, 2)
        torch.view_as_complex(pairs).mul_(self.turns)
        return exact


def pairs_side_by_side(projection: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a projection, [width, …], in the order in which pairs stand side by side."""
    halves = projection.view(heads, 2, -1, *projection.shape[1:])
    return halves.transpose(1, 2).reshape(projection.shape)
