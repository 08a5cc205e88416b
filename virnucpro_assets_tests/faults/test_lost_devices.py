"""Devices that never come up: given up after a few starts; the others do the work, and without any it ends in words."""

from dataclasses import replace
from typing import Literal

import pytest

from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.storage.provenance import Incidents
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import (
    PartLog,
    Reference,
    Rows,
    assert_equal,
    assert_nothing_is_left,
    one_line,
    part_files,
)
from virnucpro_assets_tests.faults.trouble import RANK, Trouble, assert_rows, finish, incidents_of

RESTARTS = 2


@pytest.mark.slow
def test_a_device_whose_process_ends_at_every_start_is_given_up_and_the_other_does_its_work(
    bench: Bench, reference: Reference
) -> None:
    step = bench.step(0, 1, program=Faults(broken={1: "start"}).program, restarts=RESTARTS)
    assert step.wait() == 0, step.errors
    death = (
        "device process cpu:1: ended with exit code 1 before its first task (this slot is broken). This is a fault of "
        "the installation (Python, PyTorch or the driver), not of the reads: repair it first"
    )
    of_the_dead = [line for line in step.heard if "cpu:1" in line]
    given_up = f"{death}; it ended too often and its device is given up"
    assert of_the_dead.count(given_up) == 1
    assert len([line for line in of_the_dead if line == death]) == RESTARTS + 1
    assert_nothing_is_left(step)
    assert_equal(bench.job, reference)


@pytest.mark.slow
def test_a_device_that_is_lost_in_the_middle_leaves_the_rest_to_the_other(
    bench: Bench, reference: Reference
) -> None:
    log = PartLog(bench.folder / "log")
    step = bench.step(0, 1, program=Faults(log=log.path, pause=0.05).program, restarts=0)
    step.wait_until(lambda: len({pid for what, pid, _ in log.events() if what == "written"}) == 2)
    victim, other = step.device_processes()
    assert 0 < len(part_files(bench.job)) < reference.parts
    victim.kill()
    assert step.wait() == 0, step.errors
    assert any("ended by signal SIGKILL" in line and "given up" in line for line in step.heard)
    assert {pid for _, pid, _ in log.events()} == {victim.pid, other.pid}
    assert log.begun_again() == len(log.lost(victim.pid)) <= 2
    assert_equal(bench.job, reference)


@pytest.mark.slow
def test_without_any_device_left_the_run_ends_with_one_line_and_is_resumed_on_another(
    bench: Bench, reference: Reference
) -> None:
    step = bench.step(0, program=Faults(broken={0: "start"}).program, restarts=RESTARTS)
    assert step.wait() == DeviceError.exit_code
    line = one_line(step.errors)
    assert "device process cpu:0: ended with exit code 1 before its first task (this slot is broken)" in line
    assert "No device is left. Finished parts are kept: run it again." in line
    assert part_files(bench.job) == []
    assert step.device_processes() == []
    bench.finish()
    assert_equal(bench.job, reference)


@pytest.mark.slow
def test_all_devices_lost_in_the_middle_keep_what_is_finished(bench: Bench, reference: Reference) -> None:
    log = PartLog(bench.folder / "log")
    step = bench.step(0, 1, program=Faults(log=log.path, pause=0.05).program, restarts=0)
    step.wait_until(lambda: len({pid for what, pid, _ in log.events() if what == "written"}) == 2)
    for victim in step.device_processes():
        victim.kill()
    assert step.wait() == DeviceError.exit_code
    assert "No device is left" in one_line(step.errors)
    kept = {path: path.stat().st_ino for path in part_files(bench.job)}
    assert 0 < len(kept) < reference.parts
    shards = bench.finish()
    assert sum(shard.reused_parts for shard in shards) == len(kept)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert_equal(bench.job, reference)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("breaks", ["load", "pack"])
def test_a_broken_device_beside_a_busy_one_costs_no_sequence_and_no_rank(
    trouble: Trouble, numbers: Rows, healthy_pool: DevicePool, breaks: Literal["load", "pack"]
) -> None:
    job, heard = trouble.job(), list[str]()
    one_rank = replace(job, folders={RANK: job.folders[RANK]})
    # The other device is busy for so long that the broken one dies, starts and asks for work again.
    shards = trouble.run(one_rank, Faults(broken={1: breaks}, pause=12.0), slots=(0, 1), heard=heard)
    deaths = [line for line in heard if line.startswith("device process ") and "ended" in line]
    # One more than it may be started again, and the line that gives it up.
    assert 1 <= len(deaths) <= 5
    assert all(line.startswith("device process cpu:1: ended by signal SIGABRT") for line in deaths)
    assert incidents_of(shards) == Incidents()
    assert shards[RANK].devices == ["cpu:0"]
    finish(job, healthy_pool)
    assert_rows(job, numbers)


@pytest.mark.slow
@pytest.mark.parametrize("breaks", ["pack", "load"])
def test_a_broken_device_alone_blames_no_sequence(
    trouble: Trouble, numbers: Rows, healthy_pool: DevicePool, breaks: Literal["load", "pack"]
) -> None:
    job = trouble.job()
    with pytest.raises(EmbeddingError, match="No device is left") as failed:
        trouble.run(job, Faults(broken={0: breaks}))
    assert failed.value.exit_code == DeviceError.exit_code
    assert sorted(failed.value.ranks_of("esm2")) == [0, 1, 2, 3]
    assert failed.value.quarantined == {}
    assert part_files(job) == []
    finish(job, healthy_pool)
    assert_rows(job, numbers)
