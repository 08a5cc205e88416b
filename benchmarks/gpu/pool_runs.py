"""Work through the pool, with a note of what each device did and when."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self

import psutil

from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Finished, PackDone, Task
from virnucpro_assets.inference.pool import DevicePool, Lease
from virnucpro_assets.inference.rounds import Event

LOOK_SECONDS = 0.2
PREFETCHED = 3
"""Tasks for each device: the one in work, the next, and one in the queue."""


class NotingLease(Lease):
    """A lease that keeps each event of its last run, with the seconds since that began."""

    def __init__(self, pool: DevicePool, devices: list[Device]) -> None:
        super().__init__(pool, devices)
        self.noted: list[tuple[float, Event]] = []

    def run(self, queue: deque[Task], flops: float | None = None) -> Iterator[Event]:
        started, self.noted = time.monotonic(), []
        for event in super().run(queue, flops):
            self.noted.append((time.monotonic() - started, event))
            yield event

    def finished(self, device: Device) -> list[tuple[float, Finished]]:
        """When each part of a device was done, and what it took."""
        return [
            (at, event.outcome)
            for at, event in self.noted
            if event.device == device and isinstance(event.outcome, Finished)
        ]

    def first_pack(self, device: Device) -> float | None:
        """When the first pack had gone through a device."""
        return next(
            (
                at
                for at, event in self.noted
                if event.device == device and isinstance(event.outcome, PackDone)
            ),
            None,
        )


def do(lease: NotingLease, tasks: Iterable[Task], seconds: float = math.inf) -> dict[str, Any]:
    """Tasks on the devices of a lease that run already, begun within so many seconds, and what came of them.

    `steady_tokens_per_second` adds up the rates of the devices, each until its own last part was done; `idle` is
    the share of the whole time in which a device computed nothing, at its end as well.
    """
    waiting = iter(tasks)
    queue = deque(islice(waiting, PREFETCHED * len(lease.devices)))
    given = len(queue)
    for event in lease.run(queue):
        if isinstance(event.outcome, Finished) and lease.noted[-1][0] < seconds:
            more = list(islice(waiting, 1))
            queue.extend(more)
            given += len(more)
    done = {device: lease.finished(device) for device in lease.devices}
    if (found := sum(map(len, done.values()))) != given:
        raise RuntimeError(f"found {found} finished parts; expected {given}")
    seconds = max(at for finished in done.values() for at, _ in finished)
    tokens = {device: sum(map(_tokens, finished)) for device, finished in done.items()}
    waited = sum(
        one.waited_for_input + one.waited_for_output for finished in done.values() for _, one in finished
    )
    return {
        "parts": {str(device): len(finished) for device, finished in done.items()},
        "seconds": round(seconds, 2),
        "tokens": sum(tokens.values()),
        "tokens_per_second": round(sum(tokens.values()) / seconds),
        "steady_tokens_per_second": round(
            sum(tokens[device] / finished[-1][0] for device, finished in done.items() if finished)
        ),
        "waited_for_input_or_output": round(waited / seconds / len(done), 4),
        "idle": {
            str(device): round(1 - sum(one.seconds for _, one in finished) / seconds, 4)
            for device, finished in done.items()
        },
    }


def start(lease: NotingLease, tasks: Iterator[Task]) -> dict[str, Any]:
    """Start the processes of a lease at the same time, with as many tasks as it takes until each has begun."""
    queue = deque(islice(tasks, 2 * len(lease.devices)))
    with ProcessMemory() as memory:
        for event in lease.run(queue):
            if isinstance(event.outcome, Finished) and None in map(lease.first_pack, lease.devices):
                queue.extend(islice(tasks, 1))
    loading = {device: lease.finished(device)[0][1].loading_seconds for device in lease.devices}
    return {
        "seconds_from_spawn_to_first_pack": {
            str(device): round(lease.first_pack(device) or 0.0, 2) for device in lease.devices
        },
        "seconds_to_load": {str(device): round(seconds, 2) for device, seconds in loading.items()},
        **memory.figures(),
    }


def _tokens(finished: tuple[float, Finished]) -> int:
    part = finished[1].part
    return part.counts.tokens if part else 0


class ProcessMemory:
    """Watches the host memory of the device processes of this one: its most, for all of them together.

    The proportional size counts a page that several processes map once in all; the resident size
    counts it in each of them.
    """

    def __init__(self) -> None:
        self._most: dict[str, int] = {"pss": 0, "rss": 0}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def figures(self) -> dict[str, int]:
        """The most MiB of each size; 0 for one that this system does not tell."""
        return {f"most_host_{name}_mib": size >> 20 for name, size in self._most.items()}

    def _look(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            sizes = [found for child in psutil.Process().children() if (found := _memory(child))]
            for name in self._most:
                self._most[name] = max(self._most[name], sum(size.get(name, 0) for size in sizes))


def _memory(process: psutil.Process) -> dict[str, int]:
    try:
        return dict(process.memory_full_info()._asdict())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
