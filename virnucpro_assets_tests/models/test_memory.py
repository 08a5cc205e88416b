"""What tells that memory ran out, how much was in use, and the peak rate of a device."""

import pytest
import torch

from virnucpro_assets.models.hardware import is_out_of_memory, measure_peak, peak_memory, release_memory

MIB = 1 << 20


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_allocators_are_told_from_others(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_peak_of_memory_is_that_of_the_process_and_never_falls() -> None:
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(before // 4 + 64 * MIB)
    grown = peak_memory(torch.device("cpu"))
    del held
    release_memory()
    after = peak_memory(torch.device("cpu"))
    assert grown > before
    # The system counts in batches.
    assert abs(after - grown) < 8 * MIB


def test_a_peak_rate_is_measured_in_operations_a_second() -> None:
    measured = measure_peak("cpu", torch.float32)
    assert 1e8 < measured < 1e16
