"""The devices of a deployment: which ones, and how their processes are started and watched."""

from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.settings import Settings

FLOPS_OF_A_PROCESS = 5e11
"""Work for which the start of another process on CPU slots, some seconds of a processor, is worth it."""


def open_pool(settings: Settings) -> DevicePool:
    """The pool of the devices that the settings name; no process is started yet.

    Raises InputError if a device is named that is not there, DeviceError if there is a GPU that cannot be
    used.
    """
    devices = find_devices(settings.devices, visible=settings.visible_gpus)
    return DevicePool(
        devices,
        PoolOptions(
            locks=settings.device_locks,
            when_busy=settings.when_busy,
            stall_seconds=settings.stall_seconds,
            max_restarts=settings.max_device_restarts,
            flops_of_a_process=FLOPS_OF_A_PROCESS if all(one.kind == "cpu" for one in devices) else 0.0,
        ),
    )
