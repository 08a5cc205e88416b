"""How many processor threads torch may use: a property of the whole process, so set by its owner."""

import torch


def limit_threads(count: int) -> None:
    """Let torch's operators use `count` threads. A device process calls this once, when it starts."""
    torch.set_num_threads(count)
