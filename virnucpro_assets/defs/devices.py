"""Where steps compute: the device processes of a run, and the jobs of a Ray cluster.

On one machine a run is one process, which owns the processes of all devices, and one such run computes at a time. On a
cluster each rank is a run of its own, and each step of it a job of Ray, which assigns it a GPU by CUDA_VISIBLE_DEVICES.
The steps are the same. They get the settings of this process, without the secrets, which they do not need.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.errors import InputError
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.pipeline.embed import open_pool
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_names import variable_of

POOL = "gpu"
"""The concurrency pool of every step that drives devices; one such run computes at a time."""
RAY_TAG = "dagster-ray/config"
KEPT_HERE = {"visible_gpus", "alerts", "hub", "hub_token"}
"""Settings that a step does not need, secrets among them, or that are the node's own."""


@dataclass(frozen=True)
class Devices:
    """The resource `devices`: one process per device, GPU or CPU slot, for as long as a step needs them.

    A process starts with the first work for its device, owns it by a lock of this machine, loads
    an encoder once, and ends with the step, also when the step fails or is cancelled.
    """

    settings: Settings

    @contextmanager
    def lease(self, report: Reporter) -> Iterator[Lease]:
        """The devices for the block; `report` is called with a line if a model in use is the demo's.

        Raises InputError and DeviceError as `open_pool` does.
        """
        if line := demo_line(self.settings.model_folders(self.settings.chunk_length)):
            report(line)
        with open_pool(self.settings) as pool, pool.lease() as lease:
            yield lease


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """What executes the steps of every run.

    Raises InputError if the cluster's package is not installed, or a folder is not where other
    machines would look for it.
    """
    if settings.executor == "in_process":
        return dg.in_process_executor
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path) and not value.is_absolute():
            raise InputError(
                f"setting {name}",
                found=repr(str(value)),
                expected="an absolute path, the same on every machine of the cluster",
                advice=f"Set {variable_of(type(settings), name)}.",
            )
    try:
        from dagster_ray import ray_executor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(
            "setting executor",
            found=f"'ray', and no module {error.name}",
            expected="the extra `ray` installed",
            advice="pip install 'virnucpro-assets[ray]', or set VIRNUCPRO_EXECUTOR=in_process.",
        ) from error
    on_ray: dg.ExecutorDefinition = ray_executor.configured(
        {
            "ray": {
                "address": settings.ray.address,
                "runtime_env": {"env_vars": settings_of_steps(settings)},
            }
        }
    )
    return on_ray


def step_tags(settings: Settings, *, devices: bool) -> dict[str, Any]:
    """What a step asks the cluster for; nothing where steps run in their run's process."""
    if settings.executor == "in_process":
        return {}
    gpus = settings.ray.num_gpus if devices else 0
    return {RAY_TAG: {"num_cpus": settings.ray.num_cpus, "num_gpus": gpus}}


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """As many ranks a run as a drop has, on one machine; on a cluster a run for each rank."""
    ranks = settings.ranks if settings.executor == "in_process" else 1
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=ranks)


def settings_of_steps(settings: Settings) -> dict[str, str]:
    """The variables that give a step on another machine all settings that were set here."""
    chosen = settings.model_dump(
        mode="json", include=settings.model_fields_set - KEPT_HERE, exclude_none=True
    )
    return {variable_of(type(settings), name): _text(value) for name, value in chosen.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
