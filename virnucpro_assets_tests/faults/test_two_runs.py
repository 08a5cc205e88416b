"""Two runs on one device and on one partition: one after the other, nothing twice, and nothing lost."""

import json
import os
import re
import subprocess
import sys

import pytest

from virnucpro_assets.errors import BusyError
from virnucpro_assets.inference.device_process import lock_of
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    Reference,
    assert_equal,
    assert_nothing_is_left,
    one_line,
    part_files,
)

slow = pytest.mark.slow

PAUSE = 0.05


@pytest.mark.slow
def test_a_second_run_waits_for_the_device_and_says_who_holds_it(bench: Bench, reference: Reference) -> None:
    first = bench.step(0, out="first", name="a", program=Faults(pause=PAUSE).program)
    first.wait_until(lambda: len(part_files(bench.job_in("first"))) > 1)
    second = bench.step(0, out="second", name="b")
    second.wait_until(lambda: bool(second.heard))
    assert 0 < len(part_files(bench.job_in("first"))) < reference.parts
    assert part_files(bench.job_in("second")) == []
    (holder,) = first.device_processes()
    lock = re.escape(str(lock_of(first.specification.locks, "cpu", 0)))
    assert re.fullmatch(
        rf"device cpu:0: waiting for {lock}, which a run of process {first.process.pid} "
        rf"\(process {holder.pid} on .+\) holds",
        second.heard[0],
    )
    assert (first.wait(), second.wait()) == (0, 0)
    for name in ("first", "second"):
        assert_equal(bench.job_in(name), reference)


@pytest.mark.slow
def test_a_second_run_is_refused_where_nobody_is_to_wait(bench: Bench, reference: Reference) -> None:
    first = bench.step(0, out="first", name="a", program=Faults(pause=PAUSE).program)
    first.wait_until(lambda: len(part_files(bench.job_in("first"))) > 1)
    (holder,) = first.device_processes()
    second = bench.step(0, out="second", name="b", when_busy="refuse")
    assert second.wait() == BusyError.exit_code
    assert 0 < len(part_files(bench.job_in("first"))) < reference.parts
    line = one_line(second.errors)
    assert line.startswith("error: device cpu:0: ")
    assert f"found it held by a run of process {first.process.pid} (process {holder.pid} on " in line
    assert part_files(bench.job_in("second")) == []
    assert first.wait() == 0
    assert_equal(bench.job_in("first"), reference)


@slow
def test_a_run_works_on_its_free_device_while_it_waits_for_the_other(
    bench: Bench, reference: Reference
) -> None:
    first = bench.step(1, out="first", name="a", program=Faults(pause=1.0).program)
    first.wait_until(lambda: bool(part_files(bench.job_in("first"))))
    second = bench.step(0, 1, out="second", name="b")
    assert second.wait() == 0
    assert first.process.poll() is None
    assert 0 < len(part_files(bench.job_in("first"))) < reference.parts
    assert any(line.startswith("device cpu:1: waiting for") for line in second.heard)
    assert_equal(bench.job_in("second"), reference)
    first.end()
    assert_nothing_is_left(first)


@slow
def test_a_run_that_waits_goes_on_once_the_other_is_killed(bench: Bench, reference: Reference) -> None:
    first = bench.step(0, out="first", name="a", program=Faults(pause=PAUSE).program)
    first.wait_until(lambda: len(part_files(bench.job_in("first"))) > 1)
    second = bench.step(0, out="second", name="b")
    second.wait_until(lambda: bool(second.heard))
    first.end()
    assert 0 < len(part_files(bench.job_in("first"))) < reference.parts
    assert second.wait() == 0
    assert_equal(bench.job_in("second"), reference)


@pytest.mark.slow
def test_a_lock_file_of_a_dead_process_is_no_obstacle(bench: Bench, reference: Reference) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    lock = lock_of(bench.folder / "locks", "cpu", 0)
    lock.parent.mkdir(parents=True)
    about = {"owner": "a run that ended", "pid": int(dead.stdout), "host": os.uname().nodename}
    lock.write_text(json.dumps(about))
    step = bench.step(0, when_busy="refuse")
    step.wait_until(lambda: len(part_files(bench.job)) > 1)
    assert json.loads(lock.read_text())["owner"] == f"a run of process {step.process.pid}"
    assert step.wait() == 0, step.errors
    assert_equal(bench.job, reference)
