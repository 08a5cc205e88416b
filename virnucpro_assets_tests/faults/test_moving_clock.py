"""Wall clocks and file times that tell nothing: what is valid, and how long something took, depends on neither."""

import os
import random
import re
import shutil
import signal
import time

import pytest

from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import Reference, assert_equal, assert_nothing_is_left, part_files

DAY = 86_400.0
NEXT_CENTURY = 4_102_444_800


@pytest.mark.slow
def test_a_clock_set_back_and_forth_and_restored_file_times_change_nothing(
    bench: Bench, reference: Reference
) -> None:
    steps = [0.0, DAY, -DAY, 400 * DAY, -20_000 * DAY]
    program, started = Faults(clock_steps=steps, pause=0.02).program, time.monotonic()
    step = bench.step(0, program=program, clock_steps=steps, stall_seconds=30.0)
    step.wait_until(lambda: sum("finished" in line for line in step.said) > 1)
    step.end(signal.SIGKILL)
    elapsed = time.monotonic() - started
    assert_nothing_is_left(step)
    kept = len(part_files(bench.job))
    assert 0 < kept < reference.parts

    measured = [line for line in step.said if "finished" in line]
    assert [line["finished"] for line in measured[:2]] == [0, 1]
    assert all(0 < line["seconds"] < elapsed for line in measured)
    assert 0 < measured[0]["after"] < measured[1]["after"] < elapsed
    assert not [line for line in step.heard if re.search("hang|progress|sign of life", line)]

    draw = random.Random(9)
    paths = [path for path in bench.job_folder.rglob("*") if path.is_file()]
    for path in paths:
        os.utime(path, times=(draw.randrange(NEXT_CENTURY), draw.randrange(NEXT_CENTURY)))
    shutil.copytree(bench.job_folder, bench.folder / "restored")
    restored = bench.job_at(bench.folder / "restored")
    assert [path.stat().st_mtime for path in part_files(restored)] == [
        path.stat().st_mtime for path in part_files(bench.job)
    ]

    for job in (restored, bench.job):
        heard = list[str]()
        shards = {shard.rank: shard for shard in bench.finish(job=job, heard=heard)}
        assert sum(shard.reused_parts for shard in shards.values()) == kept
        assert not [line for line in heard if "set aside" in line]
        assert read_shard(job.folders[0]).seconds == measured[0]["seconds"]
        assert_equal(job, reference)
