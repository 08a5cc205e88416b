"""When a device has no memory left: how each of them says so, and how to go on."""

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
