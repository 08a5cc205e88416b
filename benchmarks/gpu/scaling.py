"""One device against several, through the pool and in the whole job, on generated work.

    python -m benchmarks.gpu.scaling [PART...] [--devices 1,2,4] [--out benchmarks/results/gpu_scaling.json]
        [--seconds 240] [--reads N...] [--folder /dev/shm] [--small]

`esm2` ESM-2 3B in float16: the same parts on one device, for at least so many seconds, and on more
`dnabert_s` the same for DNABERT-S
`uneven` ESM-2: a long shard and a short one on all devices; how long each has nothing to compute
`killed` ESM-2: one of the device processes is killed by SIGKILL in the middle; the rows afterwards
`pipeline` the whole job on one device and on more, for each number of --reads

All parts by default, each added to the file when it is done. `--devices` are the numbers of devices that are
compared, 1,2 by default; ratios are to the first. Parts of a shard come again until the
time is filled, written each time to the same place. Every part but the last starts all processes at once
first and says how long that took and what host memory it took. `--small` takes small shapes, and CPU
slots where there is no GPU, which have as many threads together each time: a trial of the command.
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

from benchmarks.checkpoint_overhead import tasks_of
from benchmarks.device_faults import files_of, kill_in_the_middle
from benchmarks.gpu.bench import FULL, SMALL, Bench, counts_of, devices_by_count
from benchmarks.gpu.pool_runs import NotingLease, do, start
from benchmarks.gpu.progress import say, step
from benchmarks.gpu.results import add
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.inference.rounds import Died, Event
from virnucpro_assets.inference.shard_runs import embed_shards
from virnucpro_assets.vocabulary import EncoderKind

PARTS = ("esm2", "dnabert_s", "uneven", "killed", "pipeline")
LONG, SHORT = 90, 10
"""Parts of an uneven work's shards."""


def one_against_more(bench: Bench, kind: EncoderKind, seconds: float) -> dict[str, Any]:
    """The same parts on each number of devices, start-up apart, and how many times as fast more are."""
    job = bench.job(kind, "parts")
    some = tasks_of(job, 64)
    found: dict[int, dict[str, Any]] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(bench.pool())
        with step("start of all"):
            starting = start(NotingLease(pool, bench.all), cycle(some))
        first, *others = bench.devices
        for count, devices in bench.devices.items():
            lease = NotingLease(pool, devices)
            if not set(devices) <= set(bench.all):
                # A slot of as many threads as all have together is a process of its own.
                locks = bench.folder / f"locks_of_{count}"
                lease = NotingLease(stack.enter_context(DevicePool(devices, PoolOptions(locks))), devices)
                start(lease, cycle(some))
            with step(f"{count} devices"):
                if count == first:
                    found[count] = do(lease, cycle(some), seconds)
                    parts = sum(found[count]["parts"].values())
                else:
                    found[count] = do(lease, islice(cycle(some), parts))
            say(json.dumps(found[count]))
    return {
        "start_of_all": starting,
        "devices": {str(count): figures for count, figures in found.items()},
        "times_as_fast": _ratios(found, others, "tokens_per_second"),
        "times_as_fast_steady": _ratios(found, others, "steady_tokens_per_second"),
    }


def _ratios(found: dict[int, dict[str, Any]], counts: list[int], name: str) -> dict[str, float]:
    one = next(iter(found.values()))[name]
    return {str(count): round(found[count][name] / one, 3) for count in counts}


def uneven(bench: Bench) -> dict[str, Any]:
    """A shard of many parts and one of few, both in the queue of all devices."""
    job = bench.job("esm2", "uneven")
    long, short = tasks_of(job, LONG, 0), tasks_of(job, SHORT, 1)
    with bench.pool() as pool:
        lease = NotingLease(pool, bench.all)
        with step("start of all"):
            starting = start(lease, cycle(long))
        with step(f"shards of {LONG} and {SHORT} parts"):
            found = do(lease, [*short, *long])
    return {"start_of_all": starting, **found, "largest_idle": max(found["idle"].values())}


def killed(bench: Bench) -> dict[str, Any]:
    """Both shards on all devices, once left alone and once with the last process killed after a third."""
    alone, disturbed = bench.job("esm2", "alone"), bench.job("esm2", "killed")
    heard: list[str] = []
    with bench.pool() as pool:
        lease = NotingLease(pool, bench.all)
        with step("start of all"):
            starting = start(lease, cycle(tasks_of(bench.job("esm2", "parts"), 64)))
        with step("left alone"):
            began = time.monotonic()
            expected = sorted(embed_shards([alone], lease, say), key=lambda shard: shard.rank)
            seconds_alone = time.monotonic() - began
        parts = sum(len(shard.parts) for shard in expected)
        killer = threading.Thread(
            target=kill_in_the_middle, args=(disturbed, pool, bench.all[-1], max(1, parts // 3))
        )
        with step("one killed"):
            began = time.monotonic()
            killer.start()
            found = sorted(embed_shards([disturbed], lease, heard.append), key=lambda shard: shard.rank)
            killer.join()
            seconds = time.monotonic() - began
    deaths = [line for line in heard if "SIGKILL" in line]
    if not deaths:
        raise RuntimeError(f"the kill did not land; heard {heard}")
    died = next(at for at, event in lease.noted if _is_death(event))
    after = {str(device): sum(at > died for at, _ in lease.finished(device)) for device in bench.all}
    return {
        "start_of_all": starting,
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
    """The whole job on each number of devices."""
    on_gpu = bench.all[0].kind == "cuda"
    names = {
        count: f"cuda:{','.join(str(device.number) for device in devices)}" if on_gpu else f"cpu:{count}"
        for count, devices in bench.devices.items()
    }
    runs = {
        count: bench.trial.run(f"{reads}_reads_on_{count}", reads, devices=devices)
        for count, devices in names.items()
    }
    first, *others = runs.values()
    return {
        "devices": {str(count): run.figures() for count, run in runs.items()},
        "times_as_fast": {
            str(count): round(first.seconds / run.seconds, 3) for count, run in list(runs.items())[1:]
        },
        "parts_equal_byte_by_byte": all(run.parts == first.parts for run in others),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    found = {part: entry["found"] for part, entry in result.items()}
    rows = [
        (f"{kind}, tokens a second, steady", found[kind], "steady_tokens_per_second", "times_as_fast_steady")
        for kind in ("esm2", "dnabert_s")
        if kind in found
    ]
    rows += [
        (f"whole job, {int(reads):,} reads, seconds", job, "seconds", "times_as_fast")
        for reads, job in found.get("pipeline", {}).items()
    ]
    counts = list(rows[0][1]["devices"]) if rows else []
    lines = [f"| devices | {' | '.join(counts)} |", "| --- " * (1 + len(counts)) + "|"] if rows else []
    for name, figures, figure, times in rows:
        cells = [
            f"{figures['devices'][count][figure]:,}"
            + (f" ({figures[times][count]})" if count in figures[times] else "")
            for count in counts
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if "uneven" in found:
        lines += [
            "",
            f"A long shard and a short one: a device is idle for {found['uneven']['largest_idle']:.1%}.",
        ]
    if "killed" in found:
        equal = "equal" if found["killed"]["parts_equal_byte_by_byte"] else "not equal"
        lines += [
            "",
            f"One device process killed: {found['killed']['parts_afterwards']} parts afterwards, rows {equal}.",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure the parts that were asked for, add them to the file, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_scaling.json"))
    parser.add_argument("--seconds", type=float, help="at least, of each measurement on one device")
    parser.add_argument("--devices", type=counts_of, default=[1, 2], help="numbers of devices to compare")
    parser.add_argument("--reads", type=int, nargs="+", help="of the whole job")
    parser.add_argument("--folder", type=Path, help="where models and data go for the time")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    seconds = options.seconds or (5.0 if options.small else 240.0)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(size, devices_by_count(options.devices), Path(name))
        for part in PARTS if "all" in options.parts else options.parts:
            started = time.monotonic()
            with step(part):
                match part:
                    case "esm2" | "dnabert_s":
                        found = one_against_more(bench, part, seconds)
                    case "uneven":
                        found = uneven(bench)
                    case "killed":
                        found = killed(bench)
                    case _:
                        found = {
                            str(reads): whole_job(bench, reads)
                            for reads in options.reads or [size.reads_of_job]
                        }
            add(options.out, part, found, time.monotonic() - started)
    print(table(json.loads(options.out.read_text())))


if __name__ == "__main__":
    main()
