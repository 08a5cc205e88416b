"""Calling a function in a fresh process of its own, and the peak of that process's memory."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What the function returned, the seconds that it took, and memory of its process in MiB.

    `processor` are seconds of processor time, which a busy machine disturbs less. `peak_mib` is the
    largest resident size until the function ended, `before_mib` that when it began.
    """

    result: Any
    seconds: float
    processor: float
    peak_mib: float
    before_mib: float


def in_lone_process(function: Callable[..., Any], *arguments: Any) -> Measured:
    """Call a function of a module in a process that was started for it; imports are not timed."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Measured:
    before = _memory("VmRSS")
    started, used = time.perf_counter(), time.process_time()
    result = function(*arguments)
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    return Measured(result, seconds, processor, _memory("VmHWM"), before)


def _memory(field: str) -> float:
    # Not getrusage: its peak is handed down from the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return round(int(line.split()[1]) / 1024, 1)
