"""Token budgets measured as a run does it, at published shapes, and how much two measures differ."""

from typing import Any

from benchmarks.gpu.pipeline import Trial
from benchmarks.gpu.progress import say, step
from virnucpro_assets.pipeline.budgets import measure_budget
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.pipeline.recipes import EncoderChoices

TIMES = 2


def measure(trial: Trial) -> dict[str, Any]:
    """What was measured of each encoder each time, in the default parts and, on a GPU, in bfloat16."""
    on_gpu = trial.device.startswith("cuda")
    settings = trial.settings.model_copy(
        update={
            "data_root": trial.folder / "budgets",
            "precision": "bfloat16" if on_gpu else "float32",
            "packs_per_part": type(trial.settings).model_fields["packs_per_part"].default,
        }
    )
    found: dict[str, Any] = {}
    with open_pool(settings) as pool, pool.lease() as lease:
        for kind, encoder in EncoderChoices(settings).items():
            found[kind] = []
            for _ in range(TIMES):
                with step(f"{kind}: budget"):
                    measured = measure_budget(settings, encoder, lease, say, again=True)
                found[kind].append(measured.model_dump(exclude={"subject": {"weights_digest"}}))
    return found
