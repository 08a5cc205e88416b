"""What checkpoints cost: the same parts computed and written, and computed and forgotten, side by side.

    python -m benchmarks.checkpoint_overhead [--device cpu] [--shape 8M] [--parts 6] [--rounds 5] [--out FILE]

Two device processes on one device hold the same encoder with random weights of a published ESM-2
shape. In every round each of them computes the same parts, one after the other, in an order that
changes from round to round; the overhead is the time of the one that writes over that of the
one that forgets, the median of the rounds. A round ends when its last part is on the disk, so the
one write that has nothing to hide behind is counted in full. Beside that stand the same overhead
in processor time, which a busy machine disturbs less, and the share of the time for which the
device itself stood still, as the product measures it.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import deque
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.device_faults import SHAPES, make_index, make_job, make_model
from virnucpro_assets.inference.devices import Device, find_devices
from virnucpro_assets.inference.messages import Finished, PartTask, Task
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.plans import expected_tokens, plan_parts
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.models.encoders import ENCODERS

FORGETTING = (str(Path(__file__).with_name("unwritten_device_process.py")),)
ALLOWED = 0.03


def tasks_of(job: ShardJob, count: int, rank: int = 0) -> list[Task]:
    """`count` parts of a rank that are full; some come more than once if there are fewer."""
    full = all_tasks_of(job, rank)[:-1]
    if not full:
        raise SystemExit("found no full part; expected one or more. Ask for more --reads.")
    return list(islice(cycle(full), count))


def all_tasks_of(job: ShardJob, rank: int) -> list[Task]:
    """Every part of a rank, in order."""
    kind, index = job.encoder.kind, job.index
    lengths = ENCODERS[kind].lengths(index)
    tokens = expected_tokens(kind, lengths[rank :: job.recipe.ranks])
    return [
        PartTask(
            encoder=job.encoder,
            index=job.index.folder,
            plan=plan,
            recipe=job.recipe,
            target=job.folders[rank] / plan.file_name,
        )
        for plan in plan_parts(tokens, rank, job.recipe.token_budget, job.recipe.packs_per_part)
    ]


def timed(pool: DevicePool, tasks: list[Task]) -> tuple[float, list[Finished]]:
    """Seconds until all tasks are done, and what came of each."""
    started = time.monotonic()
    with pool.lease() as lease:
        outcomes = [event.outcome for event in lease.run(deque(tasks))]
    finished = [outcome for outcome in outcomes if isinstance(outcome, Finished)]
    if len(finished) != len(tasks):
        raise SystemExit(f"found {len(finished)} finished parts; expected {len(tasks)}")
    return time.monotonic() - started, finished


def processor_seconds(pool: DevicePool, device: Device) -> float:
    """What the device process has used of all processors until now."""
    times = psutil.Process(pool.process(device).pid).cpu_times()
    return float(times.user + times.system)


def measure(job: ShardJob, device: Device, parts: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    tasks = tasks_of(job, parts)
    with (
        DevicePool([device], PoolOptions(folder / "writing")) as writing,
        DevicePool([device], PoolOptions(folder / "forgetting", program=FORGETTING)) as forgetting,
    ):
        pools = {"written": writing, "forgotten": forgetting}
        for pool in pools.values():
            timed(pool, tasks[:1])
        seconds: dict[str, list[float]] = {name: [] for name in pools}
        processor: dict[str, float] = dict.fromkeys(pools, 0.0)
        waited = 0.0
        for number in range(rounds):
            for name in sorted(pools, reverse=bool(number % 2)):
                before = processor_seconds(pools[name], device)
                taken, finished = timed(pools[name], tasks)
                processor[name] += processor_seconds(pools[name], device) - before
                seconds[name].append(taken)
                waited += sum(part.waited_for_output for part in finished) if name == "written" else 0.0
    size = job.folders[0].joinpath("part-00000.h5").stat().st_size
    ratios = [one / other - 1 for one, other in zip(seconds["written"], seconds["forgotten"], strict=True)]
    rows = sum(task.plan.stop - task.plan.start for task in tasks if isinstance(task, PartTask))
    return {
        "parts_a_round": parts,
        "rows_a_part": rows // parts,
        "mib_a_part": round(size / (1 << 20), 2),
        "seconds_written": [round(value, 3) for value in seconds["written"]],
        "seconds_forgotten": [round(value, 3) for value in seconds["forgotten"]],
        "overhead": round(statistics.median(ratios), 5),
        "overhead_of_rounds": [round(ratio, 5) for ratio in ratios],
        "overhead_in_processor_time": round(processor["written"] / processor["forgotten"] - 1, 5),
        "share_stood_still": round(waited / sum(seconds["written"]), 6),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lowest, highest = min(result["overhead_of_rounds"]), max(result["overhead_of_rounds"])
    cells = {
        "device": f"{result['device']}, ESM-2 {result['shape']} {result['precision']}",
        "a part": f"{result['rows_a_part']} rows, {result['mib_a_part']} MiB",
        "seconds, written": f"{statistics.median(result['seconds_written']):.2f}",
        "seconds, forgotten": f"{statistics.median(result['seconds_forgotten']):.2f}",
        "overhead (rounds)": f"{result['overhead']:.2%} ({lowest:.2%} to {highest:.2%})",
        "in processor time": f"{result['overhead_in_processor_time']:.2%}",
        "stood still": f"{result['share_stood_still']:.3%}",
    }
    lines = [cells.keys(), ["---"] * len(cells), cells.values()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure, print the table, and fail if checkpoints cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8M")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=6_000)
    parser.add_argument("--token-budget", type=int, default=8_192)
    parser.add_argument("--packs-per-part", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = find_devices(options.device)[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index, encoder = (
            make_index(folder, options.reads),
            make_model(folder / "model", options.shape, device),
        )
        precision = "float16" if device.kind == "cuda" else "float32"
        job = make_job(
            index,
            encoder.in_precision(precision),
            folder / "out",
            options.token_budget,
            options.packs_per_part,
        )
        measured = measure(job, device, options.parts, options.rounds, folder)
    result = {
        "device": str(device),
        "threads": device.threads,
        "shape": options.shape,
        "precision": precision,
        "token_budget": options.token_budget,
        "packs_per_part": options.packs_per_part,
        **measured,
    }
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["overhead"] > ALLOWED:
        raise SystemExit(f"found an overhead of {result['overhead']:.2%}; expected at most {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
