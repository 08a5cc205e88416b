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

    `peak_mib` is the largest resident size until the function ended, `before_mib` the resident size when it began.
    """

    result: Any
    seconds: float
    peak_mib: float
    before_mib: float


def in_lone_process(function: Callable[..., Any], *arguments: Any) -> Measured:
    """Call a function of a module in a process that was started for it; imports are not timed."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Measured:
    before = _memory("VmRSS")
    started = time.perf_counter()
    result = function(*arguments)
    return Measured(result, time.perf_counter() - started, _memory("VmHWM"), before)


def _memory(field: str) -> float:
    # Not getrusage: its peak is handed down from the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return round(int(line.split()[1]) / 1024, 1)
