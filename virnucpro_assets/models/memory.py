"""The memory of a device: how much was in use, how it says that there is no more, and how to go on."""

from pathlib import Path

import torch

_PHRASES = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
"""What the allocators of the CPU and the matrix library of the GPU write into a plain RuntimeError."""


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
