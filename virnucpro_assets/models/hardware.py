"""What an encoder needs to know of its device: threads, memory, the peak rate of products, copies to the host."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

_PHRASES = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
"""What the allocators of the CPU and the matrix library of the GPU write into a plain RuntimeError."""

_SIZE_ON_CPU, _SIZE_ON_GPU = 1024, 8192
_ROUNDS = 3


def limit_threads(count: int) -> None:
    """Let torch's operators use `count` threads. A device process calls this once, when it starts."""
    torch.set_num_threads(count)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that an allocation did not fit."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


def release_memory() -> None:
    """Give what the allocator keeps for later back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_memory(device: torch.device) -> int:
    """The most bytes of `device` that this process held; on a CPU, of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage: its peak is handed down from the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def measure_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Operations a second of square products on `device`, the best of a few.

    Takes some tens of milliseconds. On a busy machine the figure is too low.
    """
    device = torch.device(device)
    size = _SIZE_ON_GPU if device.type == "cuda" else _SIZE_ON_CPU
    generator = torch.Generator(device).manual_seed(0)
    factor = torch.randn(size, size, generator=generator, device=device).to(dtype)
    seconds = min(_timed_product(factor) for _ in range(_ROUNDS + 1))
    return 2 * size**3 / seconds


def _timed_product(factor: torch.Tensor) -> float:
    started = time.perf_counter()
    product = factor @ factor
    # Reading a number waits until the product is there.
    product[0, 0].item()
    return time.perf_counter() - started


@dataclass(frozen=True)
class HostCopy:
    """float32 [n, width] on its way from a device to the host.

    A GPU has the rows only some time after the call that computes them. A copy that waited for them would leave the
    device idle until the next call: this one is queued behind the work, and `wait` is called when the next pack has
    been started.
    """

    _rows: torch.Tensor
    _arrived: torch.cuda.Event | None

    @classmethod
    def begin(cls, rows: torch.Tensor) -> "HostCopy":
        """Queue the copy of `rows` behind the work that computes them."""
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
