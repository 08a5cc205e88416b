"""The whole job on a GPU of which most memory is taken, to see how small a GPU may be.

The models are made while all memory is there. Then this process holds so much of it that only what was asked for is
left to the job. The device stays as fast as it is: what a smaller GPU adds in time is not shown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.gpu.pipeline import Trial
from benchmarks.gpu.progress import say
from virnucpro_assets.errors import VirnucproError

GIB = 1 << 30


def measure(trial: Trial, reads: int, gib: Sequence[int]) -> dict[str, Any]:
    """The job's figures, or its error, with each of `gib` left, beside a run with all of the memory."""
    reference = trial.run("all_memory", reads)
    found: dict[str, Any] = {"all": reference.figures()}
    for left in gib:
        with _memory_left(left * GIB) as free:
            say(f"{free / GIB:.1f} GiB are left")
            try:
                run = trial.run(f"{left}_gib", reads)
            except VirnucproError as error:
                found[str(left)] = {"failed": str(error)}
                continue
        found[str(left)] = {
            "gib_left": round(free / GIB, 2),
            "seconds": round(run.seconds, 1),
            "said_of_memory": [line for line in run.heard if "memory" in line],
            "same_predictions": run.table == reference.table,
            "same_parts": run.parts == reference.parts,
            "checks": run.figures()["checks"],
        }
    return {"reads": reads, "token_budget": trial.token_budget, "gib": found}


@contextmanager
def _memory_left(wanted: int) -> Iterator[int]:
    """Hold so much memory of the first GPU that at most `wanted` bytes are left; yields how many are."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, free - wanted), dtype=torch.uint8, device="cuda:0")
    yield torch.cuda.mem_get_info()[0]
    del held
    torch.cuda.empty_cache()
