"""One device against two, through the pool and in the whole job, on generated work.

    python -m benchmarks.gpu.scaling [PART...] [--out benchmarks/results/gpu_scaling.json]
        [--seconds 240] [--reads N] [--folder /dev/shm] [--small]

`esm2` ESM-2 3B in float16: the same parts on one device, for at least so many seconds, and on two
`dnabert_s` the same for DNABERT-S
`uneven` ESM-2: a long shard and a short one on two devices; how long either has nothing to compute
`killed` ESM-2: one of two device processes is killed by SIGKILL in the middle; the rows afterwards
`pipeline` the whole job on one device and on two

All parts by default, each added to the file when it is done. Parts of a shard come again until the
time is filled, written each time to the same place. Every part but the last starts both processes at once
first and says how long that took and what host memory it took. `--small` takes small shapes and CPU
slots, two of one thread against one of two: a trial of the command.
"""

import argparse
import json
import tempfile
import threading
import time
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoint_overhead import tasks_of
from benchmarks.device_faults import files_of, kill_in_the_middle
from benchmarks.gpu.bench import FULL, SMALL, Bench
from benchmarks.gpu.pipeline import Trial
from benchmarks.gpu.pool_runs import NotingLease, do, start
from benchmarks.gpu.progress import say, step
from benchmarks.gpu.results import add
from virnucpro_assets.inference.devices import Device, find_devices
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.rounds import Died, Event
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.vocabulary import EncoderKind

PARTS = ("esm2", "dnabert_s", "uneven", "killed", "pipeline")
LONG, SHORT = 90, 10
"""Parts of an uneven work's shards."""


def one_against_two(bench: Bench, kind: EncoderKind, seconds: float) -> dict[str, Any]:
    """The same parts on one device and on two, start-up apart, and how many times as fast two are."""
    job = bench.job(kind, "parts")
    some = tasks_of(job, 64)
    with ExitStack() as stack:
        pool = stack.enter_context(bench.pool_of_two())
        two = NotingLease(pool, bench.two)
        with step("start of both"):
            starting = start(two, cycle(some))
        if bench.one in bench.two:
            one = NotingLease(pool, [bench.one])
        else:
            # A slot of as many threads as both have together is a process of its own.
            other = stack.enter_context(DevicePool([bench.one], PoolOptions(bench.folder / "locks_of_one")))
            one = NotingLease(other, [bench.one])
        with step("start of one"):
            start(one, cycle(some))
        with step(f"{seconds} s on one"):
            on_one = do(one, cycle(some), seconds)
        say(json.dumps(on_one))
        count = sum(on_one["parts"].values())
        with step(f"the same {count} parts on two"):
            on_two = do(two, islice(cycle(some), count))
    return {
        "start_of_both": starting,
        "one": on_one,
        "two": on_two,
        "times_as_fast": round(on_two["tokens_per_second"] / on_one["tokens_per_second"], 3),
        "times_as_fast_steady": round(
            on_two["steady_tokens_per_second"] / on_one["steady_tokens_per_second"], 3
        ),
    }


def uneven(bench: Bench) -> dict[str, Any]:
    """A shard of many parts and one of few, both in the queue of two devices."""
    job = bench.job("esm2", "uneven")
    long, short = tasks_of(job, LONG, 0), tasks_of(job, SHORT, 1)
    with bench.pool_of_two() as pool:
        lease = NotingLease(pool, bench.two)
        with step("start of both"):
            starting = start(lease, cycle(long))
        with step(f"shards of {LONG} and {SHORT} parts"):
            found = do(lease, [*short, *long])
    return {"start_of_both": starting, **found, "largest_idle": max(found["idle"].values())}


def killed(bench: Bench) -> dict[str, Any]:
    """Both shards on two devices, once left alone and once with the second process killed after a third."""
    alone, disturbed = bench.job("esm2", "alone"), bench.job("esm2", "killed")
    heard: list[str] = []
    with bench.pool_of_two() as pool:
        lease = NotingLease(pool, bench.two)
        with step("start of both"):
            starting = start(lease, cycle(tasks_of(bench.job("esm2", "parts"), 64)))
        with step("left alone"):
            began = time.monotonic()
            expected = sorted(embed_shards(alone, lease, say), key=lambda shard: shard.rank)
            seconds_alone = time.monotonic() - began
        parts = sum(len(shard.parts) for shard in expected)
        killer = threading.Thread(
            target=kill_in_the_middle, args=(disturbed, pool, bench.two[1], max(1, parts // 3))
        )
        with step("one killed"):
            began = time.monotonic()
            killer.start()
            found = sorted(embed_shards(disturbed, lease, heard.append), key=lambda shard: shard.rank)
            killer.join()
            seconds = time.monotonic() - began
    deaths = [line for line in heard if "SIGKILL" in line]
    if not deaths:
        raise RuntimeError(f"the kill did not land; heard {heard}")
    died = next(at for at, event in lease.noted if _is_death(event))
    after = {str(device): sum(at > died for at, _ in lease.finished(device)) for device in bench.two}
    return {
        "start_of_both": starting,
        "parts": parts,
        "seconds_alone": round(seconds_alone, 2),
        "seconds": round(seconds, 2),
        "heard": deaths[0],
        "killed_after_seconds": round(died, 2),
        "parts_afterwards": after,
        "parts_equal_byte_by_byte": files_of(found) == files_of(expected),
    }


def _is_death(event: Event) -> bool:
    reason = event.outcome.reason if isinstance(event.outcome, Died) else event.outcome
    return isinstance(reason, str) and "SIGKILL" in reason


def whole_job(bench: Bench, reads: int) -> dict[str, Any]:
    """The whole job on one device and on two."""
    on_gpu = bench.one.kind == "cuda"
    one, two = ("cuda:0", "cuda:0,1") if on_gpu else ("cpu:1", "cpu:2")
    shapes, folder = bench.size.shapes, bench.folder / "jobs"
    folder.mkdir()
    trial = Trial(
        shapes["esm2"], shapes["dnabert_s"], one, bench.size.budgets["esm2"], bench.size.packs_of_job, folder
    )
    runs = {name: trial.run(name, reads, devices=devices) for name, devices in (("one", one), ("two", two))}
    return {
        "reads": reads,
        **{name: run.figures() for name, run in runs.items()},
        "times_as_fast": round(runs["one"].seconds / runs["two"].seconds, 3),
        "parts_equal_byte_by_byte": runs["one"].parts == runs["two"].parts,
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| | one | two | times | steady |", "| --- | --- | --- | --- | --- |"]
    found = {part: entry["found"] for part, entry in result.items()}
    for kind in ("esm2", "dnabert_s"):
        if kind in found:
            one, two = (f"{found[kind][name]['steady_tokens_per_second']:,}" for name in ("one", "two"))
            times, steady = found[kind]["times_as_fast"], found[kind]["times_as_fast_steady"]
            lines.append(f"| {kind}, tokens a second | {one} | {two} | {times} | {steady} |")
    if "pipeline" in found:
        one, two = (found["pipeline"][name]["seconds"] for name in ("one", "two"))
        lines.append(f"| whole job, seconds | {one} | {two} | {found['pipeline']['times_as_fast']} | |")
    if "uneven" in found:
        lines += [
            "",
            f"A long shard and a short one: a device is idle for {found['uneven']['largest_idle']:.1%}.",
        ]
    if "killed" in found:
        equal = "equal" if found["killed"]["parts_equal_byte_by_byte"] else "not equal"
        lines += [
            "",
            f"One of two killed: {found['killed']['parts_afterwards']} parts afterwards, rows {equal}.",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure the parts that were asked for, add them to the file, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_scaling.json"))
    parser.add_argument("--seconds", type=float, help="at least, of each measurement on one device")
    parser.add_argument("--reads", type=int, help="of the whole job")
    parser.add_argument("--folder", type=Path, help="where models and data go for the time")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    seconds = options.seconds or (5.0 if options.small else 240.0)
    if torch.cuda.is_available():
        two = find_devices("cuda:0,1")
        one = two[0]
    else:
        one, two = Device("cpu", 0, 2), [Device("cpu", 0, 1), Device("cpu", 1, 1)]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(size, one, two, Path(name))
        for part in PARTS if "all" in options.parts else options.parts:
            started = time.monotonic()
            with step(part):
                match part:
                    case "esm2" | "dnabert_s":
                        found = one_against_two(bench, part, seconds)
                    case "uneven":
                        found = uneven(bench)
                    case "killed":
                        found = killed(bench)
                    case _:
                        found = whole_job(bench, options.reads or size.reads_of_job)
            add(options.out, part, found, time.monotonic() - started)
    print(table(json.loads(options.out.read_text())))


if __name__ == "__main__":
    main()
