"""Device processes that hang, as a whole or in one sequence: found, ended, and their work done by others."""

import signal
import time

import pytest

from virnucpro_assets.inference.rounds import LOOK_SECONDS
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    PartLog,
    Reference,
    Rows,
    assert_equal,
    assert_nothing_is_left,
    part_files,
)
from virnucpro_assets_tests.faults.trouble import PART, RANK, Trouble, assert_rows, incidents_of

pytestmark = pytest.mark.timeout(300)

STALL_SECONDS = 15.0
"""Longer than a device process needs to start on a busy machine."""


@pytest.mark.slow
def test_a_stopped_process_is_found_and_its_parts_are_done_by_another(
    bench: Bench, reference: Reference
) -> None:
    log = PartLog(bench.folder / "log")
    program = Faults(log=log.path, pause=0.05).program
    step = bench.step(0, 1, program=program, stall_seconds=STALL_SECONDS, restarts=0)
    step.wait_until(lambda: len({pid for what, pid, _ in log.events() if what == "written"}) == 2)
    victim, other = step.device_processes()
    victim.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    assert 0 < len(part_files(bench.job)) < reference.parts

    step.wait_until(lambda: not victim.is_running() or victim.status() == "zombie", STALL_SECONDS + 30)
    seconds = time.monotonic() - stopped

    assert STALL_SECONDS - 5 < seconds < STALL_SECONDS + LOOK_SECONDS + 3
    held = log.lost(victim.pid)
    assert step.wait() == 0, step.errors
    (end,) = [line for line in step.heard if "given up" in line]
    assert "no sign of life for" in end or "made no progress for" in end
    assert_nothing_is_left(step)
    assert_equal(bench.job, reference)
    # The rest was done by the other one, and nothing but what the stopped one held was done again.
    assert len(held) <= 2
    assert log.begun_again() == len(held)
    done_again = {part for what, pid, part in log.events() if what == "written" and pid == other.pid}
    assert held.keys() <= done_again


@pytest.mark.slow
def test_a_sequence_that_hangs_once_costs_its_part_and_nothing_else(trouble: Trouble, numbers: Rows) -> None:
    job, heard = trouble.job(), list[str]()
    hanging = trouble.proteins([trouble.pack[2]])
    faults = Faults(hanging=hanging, once=trouble.folder / "hung")
    shards = trouble.run(job, faults, slots=(0, 1), heard=heard, stall_seconds=STALL_SECONDS)
    assert (trouble.folder / "hung").exists()
    (end,) = [line for line in heard if "made no progress for" in line]
    assert f"at esm2 rank {RANK} part {PART} " in end
    assert incidents_of(shards) == Incidents()
    assert_rows(job, numbers)
    # The part in which it hung; the one before it was written long before the end.
    assert trouble.log.begun_again() == 1


@pytest.mark.slow
def test_a_sequence_that_always_hangs_is_found_and_quarantined_while_another_device_does_the_rest(
    trouble: Trouble, numbers: Rows
) -> None:
    job, heard = trouble.job(), list[str]()
    row = trouble.pack[2]
    faults = Faults(hanging=trouble.proteins([row]))
    shards = trouble.run(job, faults, slots=(0, 1), heard=heard, stall_seconds=STALL_SECONDS)
    ends = [line for line in heard if "made no progress for" in line]
    assert sum(f"at esm2 rank {RANK} part {PART} " in line for line in ends) == 2
    assert sum("at esm2 probe of 1 row" in line for line in ends) == 2
    assert incidents_of(shards) == Incidents(quarantined=[QuarantinedRow(row=row, reason="kills_process")])
    assert_rows(job, numbers, lost=[row])
