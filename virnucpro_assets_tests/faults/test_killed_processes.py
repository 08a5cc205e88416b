"""Processes that are killed at random moments: what they leave behind, and what is computed again.

A device process writes one part while it computes the next, so a kill costs at most one part
that was computed and not yet written, and what was begun of the one after it. The log of the
processes tells which parts each of them lost; no other part may be computed again.
"""

import random
import re
import signal
import time

import pytest

from virnucpro_assets_tests.faults.bench import PACKS_PER_PART, Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    PartLog,
    Reference,
    Step,
    assert_equal,
    assert_nothing_is_left,
    part_files,
)

PAUSE = 0.05
slow = pytest.mark.slow
pytestmark = pytest.mark.timeout(300)


def at_work(log: PartLog) -> set[int]:
    """The processes that have begun a part."""
    return {pid for what, pid, _ in log.events() if what == "begun"}


def wait_for_workers(step: Step, log: PartLog, count: int) -> None:
    """Wait until so many processes have begun a part."""
    step.wait_until(lambda: len(at_work(log)) == count)


def wait_for_more(step: Step, log: PartLog, draw: random.Random) -> None:
    """Wait until a few more parts are written, and then for a random piece of a part."""
    wanted = log.count("written").total() + draw.randint(1, 3)
    step.wait_until(lambda: log.count("written").total() >= wanted)
    time.sleep(draw.uniform(0, PACKS_PER_PART * PAUSE))


def assert_little_was_lost(log: PartLog, lost: list[dict[str, int]]) -> None:
    """Each process lost at most the part in writing and the one in work, and only those were begun again."""
    assert all(len(parts) <= 2 for parts in lost), lost
    assert log.begun_again() == sum(len(parts) for parts in lost)


@pytest.mark.parametrize(
    ("seed", "slots", "kills"),
    [
        (0, [0], 1),
        pytest.param(1, [0], 7, marks=slow),
        pytest.param(2, [0, 1], 7, marks=slow),
        pytest.param(3, [0, 1], 6, marks=slow),
    ],
)
def test_killed_device_processes_are_started_again_and_the_result_is_the_same(
    bench: Bench, reference: Reference, seed: int, slots: list[int], kills: int
) -> None:
    draw, log, killed = random.Random(seed), PartLog(bench.folder / "log"), set[int]()
    program = Faults(log=log.path, pause=PAUSE).program
    step = bench.step(*slots, program=program, restarts=kills)
    while len(killed) < kills:
        wait_for_more(step, log, draw)
        untried = log.untried()
        alive = [process for process in step.device_processes() if process.pid in untried]
        if not alive:
            continue
        victim = draw.choice(alive)
        assert 0 < len(part_files(bench.job)) < reference.parts
        victim.kill()
        killed.add(victim.pid)
        victim.wait(5)
    assert step.wait() == 0, step.errors
    assert_nothing_is_left(step)
    deaths = [line for line in step.heard if "ended by signal SIGKILL" in line]
    assert len(deaths) == kills
    assert all(re.match(r"device process cpu:\d: ended by signal SIGKILL ", line) for line in deaths)
    assert_little_was_lost(log, [log.lost(pid) for pid in killed])
    assert_equal(bench.job, reference)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "stops", "last"),
    [
        (0, [([0, 1], signal.SIGKILL), ([0], signal.SIGTERM)], []),
        pytest.param(1, [([0], signal.SIGKILL)] * 4, [0], marks=slow),
        pytest.param(2, [([0, 1], signal.SIGKILL)] * 2, [0, 1, 2, 3], marks=slow),
        pytest.param(3, [([0, 1, 2, 3], signal.SIGINT), ([0], signal.SIGKILL)], [0, 1], marks=slow),
    ],
)
def test_an_ended_step_leaves_no_process_and_is_resumed_on_any_number_of_devices(
    bench: Bench,
    reference: Reference,
    seed: int,
    stops: list[tuple[list[int], signal.Signals]],
    last: list[int],
) -> None:
    draw, log = random.Random(seed), PartLog(bench.folder / "log")
    used, lost = set[int](), list[dict[str, int]]()
    for number, (slots, with_signal) in enumerate(stops):
        # Those that start first must not be done with everything before the last one has started.
        gather = len(used) + len(slots)
        program = Faults(log=log.path, pause=2 * PAUSE * len(slots) ** 2, gather=gather).program
        step = bench.step(*slots, name=f"step-{number}", program=program)
        wait_for_workers(step, log, gather)
        new = at_work(log) - used
        used |= new
        wait_for_more(step, log, draw)
        exit_code = step.end(with_signal)
        assert exit_code == (-signal.SIGKILL if with_signal == signal.SIGKILL else 130)
        assert_nothing_is_left(step)
        kept = part_files(bench.job)
        assert 0 < len(kept) < reference.parts
        lost += [log.lost(pid, kept) for pid in new]

    if last:
        program = Faults(log=log.path, pause=PAUSE).program
        step = bench.step(*last, name="last", program=program)
        assert step.wait() == 0, step.errors
        assert len(at_work(log) - used) == len(last)
        assert_little_was_lost(log, lost)
    else:
        assert sum(shard.reused_parts for shard in bench.finish()) == len(kept)
    assert_equal(bench.job, reference)
