"""Whether every process computes the same bits.

The order of things: device processes are started again and again, several at a time on each device, each
with nothing compiled and with a lock of its own; all of them compute every part of a small index with
both encoders. What they disturb each other in is time, and nothing may depend on that. Then the same
parts are computed through the pool: by one device and by more, and by one whose process is killed in the
middle. Every part is compared byte by byte with that of the first process.
"""

import selectors
import threading
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.checkpoint_overhead import all_tasks_of
from benchmarks.device_faults import RANKS, kill_in_the_middle
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.progress import say, step
from virnucpro_assets.errors import DeviceError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import Failed, Finished, Task
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.process_handle import ProcessHandle
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.vocabulary import ENCODER_KINDS

Parts = dict[str, Path]
"""The file of each part, by encoder, rank and name."""

_CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH")


def measure(bench: Bench, processes: int, rounds: int) -> dict[str, Any]:
    """`processes` at a time, `rounds` times; then the pool on each number of devices, and once killed."""
    runs: dict[str, Parts] = {}
    for number in range(rounds):
        with step(f"round {number + 1} of {rounds}: {processes} processes on {len(bench.all)} devices"):
            runs |= _round(bench, f"round_{number}", processes)
        say(f"with other bits so far: {_others(runs)}")
    for devices in (bench.all[:size] for size in bench.devices):
        with step(f"pool of {len(devices)}"):
            runs[f"pool of {len(devices)}"] = _pool(bench, f"pool_{len(devices)}", devices)
    with step("killed"):
        runs["killed"] = _pool(bench, "killed", bench.all[:1], killed=True)
    first, *others = runs.values()
    odd = _others(runs)
    return {
        "processes started with nothing compiled": processes * rounds,
        "devices": len(bench.all),
        "parts of each": {kind: sum(part.startswith(kind) for part in first) for kind in ENCODER_KINDS},
        "rows": bench.index.manifest.rows,
        "with other bits": odd,
        "largest difference": max(_largest_difference(first, other) for other in others),
        "equal byte by byte": not odd,
    }


def _others(runs: dict[str, Parts]) -> list[str]:
    """The names of those that differ from the first in any part."""
    digests = {name: {part: sha256_of_file(path) for part, path in run.items()} for name, run in runs.items()}
    expected = next(iter(digests.values()))
    return [name for name, found in digests.items() if found != expected]


def _round(bench: Bench, name: str, processes: int) -> dict[str, Parts]:
    """What each of some processes computes that start at the same time."""
    waiting: dict[ProcessHandle, deque[Task]] = {}
    runs: dict[str, Parts] = {}
    for number in range(processes):
        device, one = bench.all[number % len(bench.all)], f"{name}_process_{number}"
        folder = bench.folder / one
        caches = {variable: str(folder / variable.lower()) for variable in _CACHES}
        program = (
            "-c",
            f"import os; os.environ.update({caches!r}); "
            "from virnucpro_assets.inference.device_process import main; main()",
        )
        tasks = _tasks(bench, one)
        waiting[ProcessHandle(device, folder / "locks", "refuse", program)] = deque(tasks.values())
        runs[f"{name}, process {number} on {device}"] = {part: task.target for part, task in tasks.items()}
    try:
        _work_through(waiting)
    finally:
        for handle in waiting:
            handle.stop()
    return runs


def _work_through(waiting: dict[ProcessHandle, deque[Task]]) -> None:
    """Hand each process its tasks, the next one when it has begun with the one before, until all are done."""
    numbers, unfinished = count(), sum(map(len, waiting.values()))
    with selectors.DefaultSelector() as selector:
        for handle in waiting:
            selector.register(handle, selectors.EVENT_READ, handle)
        while unfinished:
            for key, _ in selector.select():
                handle = key.data
                for reply in handle.read():
                    if isinstance(reply, Failed):
                        raise DeviceError(f"{handle.device}: {reply.reason}")
                    if isinstance(reply, Finished):
                        del handle.tasks[reply.number]
                        unfinished -= 1
                if handle.wants_work and waiting[handle]:
                    handle.send(next(numbers), waiting[handle].popleft())


def _tasks(bench: Bench, name: str) -> dict[str, Any]:
    """Every part of both encoders, DNABERT-S first, with targets in folders of this name."""
    return {
        f"{kind} {task.target.parent.name} {task.target.name}": task
        for kind in ENCODER_KINDS
        for rank in range(RANKS)
        for task in all_tasks_of(bench.job(kind, name), rank)
    }


def _pool(bench: Bench, name: str, devices: list[Device], *, killed: bool = False) -> Parts:
    """What a run computes; if `killed` the process of its first device dies after a third of the parts of ESM-2."""
    heard: list[str] = []
    tasks = _tasks(bench, name)
    third = max(1, sum(part.startswith("esm2") for part in tasks) // 3)
    with DevicePool(devices, PoolOptions(bench.folder / "locks")) as pool, pool.lease() as lease:
        for kind in ENCODER_KINDS:
            job = bench.job(kind, name)
            after = third if killed and kind == "esm2" else None
            killer = threading.Thread(target=kill_in_the_middle, args=(job, pool, devices[0], after))
            killer.start()
            list(embed_shards([job], lease, heard.append))
            killer.join()
    deaths = [line for line in heard if "SIGKILL" in line]
    if bool(deaths) != killed:
        raise RuntimeError(f"found {len(deaths)} deaths; expected {int(killed)}. Heard {heard}")
    for line in deaths:
        say(line)
    return {part: task.target for part, task in tasks.items()}


def _largest_difference(one: Parts, other: Parts) -> float:
    return max(float(np.abs(_rows(path) - _rows(other[part])).max()) for part, path in one.items())


def _rows(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        rows: np.ndarray = file["embeddings"][:]
    return rows
