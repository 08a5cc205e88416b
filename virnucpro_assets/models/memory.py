"""The memory of a device and its name: how much was in use, how it says that there is no more, and how to go on."""

import platform
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


def memory_in_reach(device: torch.device) -> int | None:
    """Bytes of a GPU that this process holds or may still take; None for a CPU, whose packs are computed in pieces."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def device_name(device: torch.device) -> str:
    """What people call a device: the GPU as its driver does, or the processor with the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory(device: torch.device) -> int:
    """The most bytes of `device` that this process held; on a CPU, of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage: its peak is handed down from the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10
