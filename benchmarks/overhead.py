"""What the platform costs: device processes against the same work in one process, side by side.

    python -m benchmarks.overhead [--threads 2] [--parts 6] [--rounds 5] [--out FILE]

ESM-2 8M with random weights in float32. In every round the same parts are computed in three ways, in an
order that changes from round to round, on the same number of threads in all:

- bare: this process reads the rows of each part and embeds them; nothing is written;
- one slot: one device process with all threads, which also checks, digests and writes every part;
- slots: as many device processes as there are threads, of one thread each.

The overheads are medians of the rounds by the clock, which decides; beside them stand those in processor time: where
the two differ by much, the machine was busy with other work. What it costs to start the processes and load
the model is measured once and given apart: the first part less what it takes later.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.checkpoint_overhead import processor_seconds, tasks_of, timed
from benchmarks.device_faults import SHAPES, make_index, make_job, make_model
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.inference.loaded_encoders import LoadedEncoders
from virnucpro_assets.inference.messages import Finished, PartTask, Task
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.parts import rows_of

CPU = Device("cpu", 0, 1)
MOST = 0.05


def bare(job: ShardJob, encoder: Encoder, tasks: list[Task]) -> float:
    """Seconds to embed the rows of all parts in this process."""
    started = time.monotonic()
    index = SequenceIndex.open(job.index.folder)
    for task in tasks:
        assert isinstance(task, PartTask)
        rows = rows_of(task.plan, job.recipe.ranks)
        batch = index.rows(int(rows[0]), int(rows[-1]) + 1, job.recipe.ranks)
        embed_sequences(encoder, ENCODERS["esm2"].sequences(batch), job.recipe.token_budget)
    return time.monotonic() - started


def first_part(pool: DevicePool, tasks: list[Task]) -> tuple[float, float]:
    """Seconds until every device has done one part, and those of the slowest computing among them."""
    started = time.monotonic()
    with pool.lease() as lease:
        events = list(lease.run(deque(tasks[: len(pool.devices)])))
    computing = [event.outcome.seconds for event in events if isinstance(event.outcome, Finished)]
    return time.monotonic() - started, max(computing)


def measure(job: ShardJob, threads: int, parts: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All rounds, and what they say together."""
    tasks = tasks_of(job, parts)
    limit_threads(threads)
    encoder = LoadedEncoders("cpu").get(job.encoder)
    one = [Device("cpu", 0, threads)]
    many = [Device("cpu", number, 1) for number in range(threads)]
    with (
        DevicePool(one, PoolOptions(folder / "one")) as one_slot,
        DevicePool(many, PoolOptions(folder / "many")) as slots,
    ):
        start_up = {"one_slot": first_part(one_slot, tasks)[0], "slots": first_part(slots, tasks)[0]}
        warm = {"one_slot": first_part(one_slot, tasks)[0], "slots": first_part(slots, tasks)[0]}
        ways: dict[str, Callable[[], float]] = {
            "bare": lambda: bare(job, encoder, tasks),
            "one_slot": lambda: timed(one_slot, tasks)[0],
            "slots": lambda: timed(slots, tasks)[0],
        }
        pools = {"bare": [], "one_slot": [one_slot], "slots": [slots]}
        bare(job, encoder, tasks[:1])
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        processor = dict.fromkeys(ways, 0.0)
        for number in range(rounds):
            names = list(ways)
            for name in [*names[number % 3 :], *names[: number % 3]]:
                before = processor_time(pools[name])
                seconds[name].append(ways[name]())
                processor[name] += processor_time(pools[name]) - before
    of_process = _overheads(seconds["one_slot"], seconds["bare"])
    of_slots = _overheads(seconds["slots"], seconds["one_slot"])
    return {
        "parts_a_round": parts,
        **{f"seconds_{name}": [round(value, 3) for value in of] for name, of in seconds.items()},
        "overhead_of_process": round(statistics.median(of_process), 4),
        "overhead_of_process_of_rounds": of_process,
        "overhead_of_slots": round(statistics.median(of_slots), 4),
        "overhead_of_slots_of_rounds": of_slots,
        "overhead_of_process_in_processor_time": round(processor["one_slot"] / processor["bare"] - 1, 4),
        "overhead_of_slots_in_processor_time": round(processor["slots"] / processor["one_slot"] - 1, 4),
        "seconds_to_start": {name: round(start_up[name] - warm[name], 2) for name in start_up},
    }


def processor_time(pools: list[DevicePool]) -> float:
    """Seconds that this process and the device processes of `pools` have used of all processors."""
    return time.process_time() + sum(
        processor_seconds(pool, device) for pool in pools for device in pool.devices
    )


def _overheads(seconds: list[float], reference: list[float]) -> list[float]:
    return [round(one / other - 1, 4) for one, other in zip(seconds, reference, strict=True)]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    seconds = {name: statistics.median(result[f"seconds_{name}"]) for name in ("bare", "one_slot", "slots")}
    start = result["seconds_to_start"]
    used = {name: f"{result[f'overhead_of_{name}_in_processor_time']:+.1%}" for name in ("process", "slots")}
    of_process, of_slots = result["overhead_of_process"], result["overhead_of_slots"]
    rows = [
        ("bare", seconds["bare"], "", "", ""),
        ("one slot, to bare", seconds["one_slot"], f"{of_process:+.1%}", used["process"], start["one_slot"]),
        (
            f"{result['threads']} slots, to one slot",
            seconds["slots"],
            f"{of_slots:+.1%}",
            used["slots"],
            start["slots"],
        ),
    ]
    lines = [
        "| | seconds | overhead | in processor time | seconds to start |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join(
        [
            *lines,
            *(f"| {name} | {taken:.2f} | {over} | {used} | {up} |" for name, taken, over, used, up in rows),
        ]
    )


def main() -> None:
    """Measure, print the table, and fail if the platform costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8M")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=6_000)
    parser.add_argument("--token-budget", type=int, default=8_192)
    parser.add_argument("--packs-per-part", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index, encoder = make_index(folder, options.reads), make_model(folder / "model", options.shape, CPU)
        job = make_job(
            index,
            encoder.in_precision("float32"),
            folder / "out",
            options.token_budget,
            options.packs_per_part,
        )
        measured = measure(job, options.threads, options.parts, options.rounds, folder)
    result = {
        "shape": options.shape,
        "precision": "float32",
        "threads": options.threads,
        "token_budget": options.token_budget,
        "packs_per_part": options.packs_per_part,
        **measured,
    }
    print(table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if (largest := max(result[f"overhead_of_{name}"] for name in ("process", "slots"))) > MOST:
        raise SystemExit(f"found an overhead of {largest:.1%}; expected at most {MOST:.0%}")


if __name__ == "__main__":
    main()
