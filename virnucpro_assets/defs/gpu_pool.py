"""The resource that owns the device processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import PrivateAttr

from virnucpro_assets.defs.failures import mendable
from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.inference.pool import DevicePool, Lease

POOL = "gpu"
"""The concurrency pool of every step that drives devices; one such step runs at a time."""


class GpuPool(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One process per device, GPU or CPU slot, for as long as a run lasts.

    A process starts with the first work for its device, loads an encoder once, and ends with
    the run, also when the run fails or is cancelled.
    """

    devices: str = "auto"
    _pool: DevicePool = PrivateAttr()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Find the devices; nothing is started yet."""
        with mendable():
            self._pool = DevicePool(find_devices(self.devices))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the processes."""
        self._pool.close()

    @contextmanager
    def lease(self, count: int | None = None) -> Iterator[Lease]:
        """Own `count` free devices, by default all of them, for a while."""
        with self._pool.lease(count) as lease:
            yield lease
