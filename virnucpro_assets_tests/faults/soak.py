"""Many random faults one after the other on a small drop, and what they cost.

    python -m virnucpro_assets_tests.faults.soak [--cycles 200] [--seed 1] [--beside 1]
        [--out soak.md] [--json soak.json]

A job is begun as a process of its own, on one CPU slot or two. A cycle is one fault that lands:
while the job runs it is a signal to a device process or to the job itself, while it stands still
a damaged file or another number of devices, after which it goes on. Whenever the job is done it
is compared, row by row and part by part, with an uninterrupted one, every part that was begun
again is accounted for, and a new job is begun. Faults and moments are drawn with the seed, from
those that are possible at the time, rare ones first; the operating system adds its own chance.
With `--beside N` the faults are shared by N soaks of their own seeds, beside one another.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.storage.shards import SHARD_MANIFEST, rank_name, read_shard
from virnucpro_assets_tests.faults.bench import PACKS_PER_PART, Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    PartLog,
    Reference,
    Step,
    assert_nothing_is_left,
    part_files,
    reference_of,
)
from virnucpro_assets_tests.jobs import build_small_index, rows_of_job, write_small_reads

PAUSE = 0.15
"""Long enough for a job to last a few seconds: a fault must land before its end."""
SILENCE_SECONDS = 6.0
"""Short for a soak, and yet three heartbeats long."""


Cost = list[dict[str, int]]
"""For each device the parts that it lost, with how many packs of each had been computed."""

Fault = Callable[[], Cost]


@dataclass
class Tally:
    """What one kind of fault came to.

    `begun_again` counts the parts that had to be begun once more, `packs` the packs of them that had
    been computed already, `most_packs` the most packs that one device lost to one fault.
    """

    count: int = 0
    landed: int = 0
    lost_rows: int = 0
    begun_again: int = 0
    packs: int = 0
    most_packs: int = 0

    def add(self, cost: Cost) -> None:
        """A fault landed and cost this."""
        self.landed += 1
        self.begun_again += sum(len(parts) for parts in cost)
        packs = [sum(parts.values()) for parts in cost]
        self.packs += sum(packs)
        self.most_packs = max([self.most_packs, *packs])


class MissedError(Exception):
    """The job was done before the fault landed."""


class Soak:
    """The job in work, what was done to it, and the tallies of all jobs."""

    def __init__(self, bench: Bench, reference: Reference, seed: int) -> None:
        self._root, self._reference, self._draw = bench, reference, random.Random(seed)
        self.jobs = 0
        self.rows_compared = 0
        shards = [read_shard(folder) for folder in bench.job.folders.values()]
        self._packs_of = {
            (rank_name(shard.rank, len(shards)), part.name): part.counts.packs
            for shard in shards
            for part in shard.parts
        }
        self.tallies = {name: Tally() for name in (*self._while_running(), *self._at_rest())}
        self._begin_job()

    def _while_running(self) -> dict[str, Fault]:
        return {
            "SIGKILL of a device process": self._kill_device_process,
            "SIGSTOP of a device process": self._stop_device_process,
            "SIGKILL of the step": lambda: self._end_step(signal.SIGKILL),
            "SIGTERM of the step": lambda: self._end_step(signal.SIGTERM),
            "SIGINT of the step": lambda: self._end_step(signal.SIGINT),
        }

    def _at_rest(self) -> dict[str, Fault]:
        return {
            "part cut off": lambda: self._damage(self._parts(), _cut_off),
            "bit of a part flipped": lambda: self._damage(self._parts(), _flip),
            "bit of a manifest flipped": lambda: self._damage(self._manifests(), _flip),
            "other number of devices": self._change_devices,
        }

    def cycle(self) -> str:
        """Let one fault land, in as many jobs as that takes; returns its name."""
        while True:
            faults = self._while_running() if self._step else self._possible_at_rest()
            if not faults:
                self._start_step()
                continue
            rarity = [1 / (1 + self.tallies[name].count) ** 2 for name in faults]
            (name,) = self._draw.choices(list(faults), rarity)
            try:
                cost = faults[name]()
            except MissedError:
                self._finish_job()
                continue
            self._applied.add(name)
            self.tallies[name].count += 1
            self.tallies[name].add(cost)
            self._expected += sum(len(parts) for parts in cost)
            return name

    def finish(self) -> None:
        """Let the job that is in work come to its end, and compare it."""
        if self._step is None:
            self._start_step()
        self._finish_job()

    def close(self) -> None:
        """End the job that is in work."""
        self._steps.close()

    # The job.

    def _begin_job(self) -> None:
        self._steps = ExitStack()
        folder = self._root.folder / f"job-{self.jobs}"
        self._bench = Bench(folder, self._root.index, self._root.healthy, self._steps)
        folder.mkdir()
        self._log = PartLog(folder / "log")
        self._step: Step | None = None
        self._slots, self._started, self._expected = self._draw.choice([1, 2]), 0, 0
        self._applied = set[str]()
        self._start_step()

    def _start_step(self) -> None:
        program = Faults(log=self._log.path, pause=PAUSE).program
        self._step = self._bench.step(
            *range(self._slots),
            name=f"step-{self._started}",
            program=program,
            silence_seconds=SILENCE_SECONDS,
            restarts=50,
        )
        self._started += 1

    def _finish_job(self) -> None:
        step = self._running
        assert step.wait() == 0, step.errors
        assert_nothing_is_left(step)
        rows = rows_of_job(self._bench.job)
        expected = self._reference.rows
        lost = [row for row in expected if row not in rows or rows[row].tobytes() != expected[row].tobytes()]
        for name in self._applied:
            self.tallies[name].lost_rows += len(lost)
        assert not lost, f"{len(lost)} rows differ in {self._bench.folder}"
        assert reference_of(self._bench.job).contents == self._reference.contents
        assert self._log.begun_again() == self._expected, self._bench.folder
        self._steps.close()
        shutil.rmtree(self._bench.folder)
        self.jobs += 1
        self.rows_compared += len(rows)
        self._begin_job()

    # Waiting.

    @property
    def _running(self) -> Step:
        assert self._step is not None
        return self._step

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for something to happen in the running job; MissedError if it is done before."""
        step, deadline = self._running, time.monotonic() + 120
        while True:
            code = step.process.poll()
            if condition():
                return
            assert time.monotonic() < deadline, f"it never came about in {self._bench.folder}"
            if code is not None:
                assert code == 0, step.errors
                raise MissedError
            time.sleep(0.01)

    def _wait_for_a_moment(self) -> None:
        """Wait for a few more parts and a random piece of one, and see that some are still missing."""
        wanted = self._log.count("written").total() + self._draw.randint(1, 3)
        self._wait(lambda: self._log.count("written").total() >= wanted)
        time.sleep(self._draw.uniform(0, PACKS_PER_PART * PAUSE))
        if not 0 < len(part_files(self._bench.job)) < self._reference.parts:
            raise MissedError

    # Faults while it runs.

    def _victim(self) -> psutil.Process:
        while True:
            self._wait_for_a_moment()
            untried = self._log.untried()
            alive = [process for process in self._running.device_processes() if process.pid in untried]
            if alive:
                return self._draw.choice(alive)

    def _kill_device_process(self) -> Cost:
        victim = self._victim()
        deaths = self._said("SIGKILL")
        victim.kill()
        self._wait(lambda: self._said("SIGKILL") > deaths)
        return [self._log.lost(victim.pid)]

    def _stop_device_process(self) -> Cost:
        victim = self._victim()
        stalls = self._said("was ended")
        victim.suspend()
        self._wait(lambda: not victim.is_running())
        self._wait(lambda: self._said("was ended") > stalls)
        return [self._log.lost(victim.pid)]

    def _said(self, words: str) -> int:
        return sum(words in line for line in self._running.heard)

    def _end_step(self, number: signal.Signals) -> Cost:
        self._wait_for_a_moment()
        step = self._running
        pids = [process.pid for process in step.device_processes()]
        code = step.end(number)
        if code == 0:
            raise MissedError
        assert code == (-number if number == signal.SIGKILL else 130), step.errors
        assert_nothing_is_left(step)
        assert 0 < len(part_files(self._bench.job)) < self._reference.parts
        self._step = None
        return [self._log.lost(pid, self._parts()) for pid in pids]

    # Faults while it stands still.

    def _possible_at_rest(self) -> dict[str, Fault]:
        faults = self._at_rest()
        if not self._manifests():
            del faults["bit of a manifest flipped"]
        if len(self._parts()) > self._reference.parts // 2:
            del faults["other number of devices"]
        return faults

    def _parts(self) -> list[Path]:
        return part_files(self._bench.job)

    def _manifests(self) -> list[Path]:
        return [
            path for folder in self._bench.job.folders.values() if (path := folder / SHARD_MANIFEST).exists()
        ]

    def _damage(self, paths: list[Path], damage: Callable[[bytes, random.Random], bytes]) -> Cost:
        path = self._draw.choice(paths)
        damaged = damage(path.read_bytes(), self._draw)
        path.write_bytes(damaged)
        self._start_step()
        self._wait(lambda: self._said(" was set aside as ") > 0)
        (line,) = [line for line in self._running.heard if " was set aside as " in line]
        aside = Path(line.partition(" was set aside as ")[2].split()[0])
        assert aside.name.startswith(f"{path.name}.quarantine-")
        assert aside.read_bytes() == damaged
        return (
            [{path.name: self._packs_of[path.parent.name, path.name]}] if path.name != SHARD_MANIFEST else []
        )

    def _change_devices(self) -> Cost:
        before = {pid for _, pid, _ in self._log.events()}
        self._slots = 3 - self._slots
        self._start_step()
        self._wait(lambda: len({pid for _, pid, _ in self._log.events()} - before) == self._slots)
        return []


def _cut_off(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{result['cycles']} faults in {result['jobs']} jobs, seed {result['seed']}: "
        f"{result['rows_compared']} rows compared, {result['lost_rows']} lost or different. "
        f"A part has {PACKS_PER_PART} packs.",
        "",
        "| fault | count | landed | lost rows | parts begun again | packs computed twice | of one device at most |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, tally in result["faults"].items():
        lines.append(f"| {name} | {' | '.join(str(value) for value in tally.values())} |")
    return "\n".join(lines) + "\n"


def run(cycles: int, seed: int, folder: Path) -> dict[str, Any]:
    """Let `cycles` faults land and say what they came to."""
    write_small_reads(folder / "reads.fastq")
    index = build_small_index(folder / "reads.fastq", folder / "index")
    started = time.monotonic()
    with ExitStack() as steps:
        with DevicePool([Device("cpu", 0, 1)], PoolOptions(folder / "locks")) as healthy:
            bench = Bench(folder, index, healthy, steps)
            bench.finish()
        soak = Soak(bench, reference_of(bench.job), seed)
        steps.callback(soak.close)
        for number in range(1, cycles + 1):
            name = soak.cycle()
            sys.stderr.write(f"{number} of {cycles}, after {time.monotonic() - started:.0f} s: {name}\n")
        soak.finish()
    return {
        "cycles": cycles,
        "seed": seed,
        "jobs": soak.jobs,
        "seconds": round(time.monotonic() - started),
        "rows_compared": soak.rows_compared,
        "lost_rows": sum(tally.lost_rows for tally in soak.tallies.values()),
        "faults": {name: asdict(tally) for name, tally in soak.tallies.items()},
    }


def run_beside(cycles: int, seed: int, count: int, folder: Path) -> dict[str, Any]:
    """Share `cycles` faults among `count` soaks at the same time, and add up what they came to."""
    folders = [folder / f"soak-{number}" for number in range(count)]
    for path in folders:
        path.mkdir()
    shares = [cycles // count + (number < cycles % count) for number in range(count)]
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as processes:
        results = list(processes.map(run, shares, range(seed, seed + count), folders))
    total = results[0]
    for result in results[1:]:
        for key in ("cycles", "jobs", "rows_compared", "lost_rows"):
            total[key] += result[key]
        total["seconds"] = max(total["seconds"], result["seconds"])
        for name, tally in result["faults"].items():
            sums = total["faults"][name]
            most = max(sums["most_packs"], tally["most_packs"])
            total["faults"][name] = {key: sums[key] + value for key, value in tally.items()} | {
                "most_packs": most
            }
    return total | {"seed": f"{seed} to {seed + count - 1}" if count > 1 else seed}


def main() -> None:
    """Soak, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    result = run_beside(options.cycles, options.seed, options.beside, folder)
    # Only now: what went wrong can be looked at.
    shutil.rmtree(folder)
    sys.stdout.write(table(result))
    if options.out:
        options.out.write_text(table(result), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
