"""The resource that owns the device processes."""

from collections.abc import Iterator

import dagster as dg

from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.settings import Settings

POOL = "gpu"
"""The concurrency pool of every step that drives devices; one such step runs at a time."""

GpuPool = dg.ResourceParam[DevicePool]


def gpu_pool(settings: Settings) -> dg.ResourceDefinition:
    """The resource `gpu_pool`: one process per device, GPU or CPU slot, for as long as a run lasts.

    A process starts with the first work for its device, owns it by a lock of this machine, loads
    an encoder once, and ends with the run, also when the run fails or is cancelled.
    """

    @dg.resource(description="One process per device, GPU or CPU slot, for as long as a run lasts.")
    def pool(_: dg.InitResourceContext) -> Iterator[DevicePool]:
        with mendable():
            devices = open_pool(settings)
        with devices:
            yield devices

    return pool
