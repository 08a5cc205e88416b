"""Copies from a device to the host that do not hold the device up.

What a model gives on a GPU is there only some time after the call that asked for it. A copy that
waited for it would let the device stand still until the next call; here the copy is queued
behind the work, and is waited for when the next pack is already on its way.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class HostCopy:
    """float32 [n, width] on its way from a device to the host."""

    _rows: torch.Tensor
    _arrived: torch.cuda.Event | None

    @classmethod
    def begin(cls, rows: torch.Tensor) -> "HostCopy":
        """Queue the copy of `rows` behind the work that makes them."""
        if rows.device.type != "cuda":
            return cls(rows, None)
        host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        host.copy_(rows, non_blocking=True)
        arrived = torch.cuda.current_stream(rows.device).record_event()
        return cls(host, arrived)

    def wait(self) -> npt.NDArray[np.float32]:
        """The rows, once they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._rows.numpy()
