"""The resource that owns the device processes."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.settings import Settings

POOL = "gpu"
"""The concurrency pool of every step that drives devices; one such step runs at a time."""

GpuPool = dg.ResourceParam[DevicePool]


def gpu_pool(settings: Settings) -> dg.ResourceDefinition:
    """The resource `gpu_pool`: one process per device, GPU or CPU slot, for as long as a run lasts.

    A process starts with the first work for its device, owns it by a lock of this machine, loads
    an encoder once, and ends with the run, also when the run fails or is cancelled. The run's log has
    a line if a model in use is the demo's.
    """

    @dg.resource(description="One process per device, GPU or CPU slot, for as long as a run lasts.")
    def pool(context: dg.InitResourceContext) -> Iterator[DevicePool]:
        line = demo_line(settings.model_folders(settings.chunk_length))
        if line and context.log and not _has_ended(context):
            context.log.info(line)
        with mendable():
            devices = open_pool(settings)
        with devices:
            yield devices

    return pool


def _has_ended(context: dg.InitResourceContext) -> bool:
    """Whether the run has ended already: Dagster opens the resources again for its result."""
    if context.run is None or context.instance is None:
        return False
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.is_finished
