"""Disks that refuse: in single calls of the atomic writer, and as a whole, full, read-only or gone.

What was written whole is kept, nothing half-written is taken for whole, the error is one line that
names the file, and the next run after the disk is in order again goes on from what is there.
"""

import os
import shutil
from pathlib import Path

import pytest

from virnucpro_assets.errors import describe_os_error
from virnucpro_assets.inference.shard_runs import EmbeddingError, embed_shards
from virnucpro_assets.storage.shards import MANIFEST, VIEW, read_shard
from virnucpro_assets_tests.faults.bench import Bench
from virnucpro_assets_tests.faults.disks import small_disk
from virnucpro_assets_tests.faults.faulty_device_process import Faults, WriteFault
from virnucpro_assets_tests.faults.harness import Reference, assert_equal, leftovers, one_line, part_files

MESSAGES = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}
ADVICE = "Check the path, who may use it, and the space on its disk."
PAGE = 4096


def test_a_call_of_the_writer_that_fails_stops_the_run_and_the_next_one_goes_on(
    bench: Bench, reference: Reference
) -> None:
    control, kept = bench.folder / "fault.json", list[Path]()
    calls = [(at, error) for at in ("write", "fsync", "rename") for error in ("ENOSPC", "EIO")]
    with bench.pool(0, program=Faults(write=control).program) as pool:
        for at, error in calls:
            control.write_text(WriteFault(at=at, error=error, after=2).model_dump_json())
            with pytest.raises(EmbeddingError) as failed:
                bench.finish(pool)
            parts = part_files(bench.job)
            assert len(parts) == len(kept) + 2 < reference.parts
            assert leftovers(bench.job) == []
            target = first_missing(bench, reference)
            assert set(failed.value.failures.values()) == {f"{target}: found {MESSAGES[error]}. {ADVICE}"}
            assert MESSAGES[error] in one_line(str(failed.value))
            kept = parts
        control.unlink()
        assert sum(shard.reused_parts for shard in bench.finish(pool)) == len(kept)
    assert_equal(bench.job, reference)


def first_missing(bench: Bench, reference: Reference) -> Path:
    """The part that comes first of those that are not there."""
    parts = [bench.job.folders[rank] / name for rank, name, *_ in reference.contents]
    return next(path for path in parts if not path.exists())


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("way", ["full", "read_only"])
def test_a_disk_that_takes_no_more_in_the_middle_of_a_run_keeps_what_it_has(
    bench: Bench, reference: Reference, way: str, in_memory: bool
) -> None:
    writer = bench.healthy.process(bench.healthy.devices[0]).pid
    with small_disk(bench.folder / "disk", [writer], in_memory=in_memory) as disk:
        job = bench.job_at(disk.folder / "out")
        with bench.healthy.lease() as lease:
            run = embed_shards([job], lease, [].append)
            assert next(run).rank == 0
            disk.fill(room=5 * PAGE) if way == "full" else disk.lock()
            with pytest.raises(EmbeddingError) as failed:
                list(run)
        message = f"found {getattr(disk, way)}. {ADVICE}"
        assert message in one_line(str(failed.value))

        with pytest.raises((EmbeddingError, OSError)) as again:
            bench.finish(job=job)
        error = again.value
        said = describe_os_error(error) if isinstance(error, OSError) else str(error)
        assert message in one_line(said)

        disk.heal()
        kept = part_files(job)
        assert 0 < len(kept) < reference.parts
        # What cannot be written to cannot be tidied up either.
        assert way == "read_only" or leftovers(job) == []
        assert sum(shard.reused_parts for shard in bench.finish(job=job)) == len(kept)
        assert_equal(job, reference)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_disk_without_room_for_views_and_manifests_keeps_all_parts(
    bench: Bench, undisturbed: Bench, reference: Reference, in_memory: bool
) -> None:
    with small_disk(bench.folder / "disk", [os.getpid()], in_memory=in_memory) as disk:
        job = bench.job_at(disk.folder / "out")
        for folder, whole in zip(job.folders.values(), undisturbed.job.folders.values(), strict=True):
            shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(VIEW, MANIFEST))
        for room, name in ((0, VIEW), (2 * PAGE, MANIFEST)):
            disk.fill(room)
            with pytest.raises(OSError, match=disk.full) as failed:
                bench.finish(job=job)
            disk.heal()
            expected = f"{job.folders[0] / (name if disk.counts else VIEW)}: found {disk.full}. {ADVICE}"
            assert one_line(describe_os_error(failed.value)) == expected
            assert leftovers(job) == []
        assert not list(disk.folder.rglob(MANIFEST))
        shards = bench.finish(job=job)
        assert sum(shard.reused_parts for shard in shards) == reference.parts
        assert_equal(job, reference)


def test_a_shard_whose_folder_vanishes_in_the_middle_is_not_finished_and_goes_on_when_it_is_back(
    bench: Bench, undisturbed: Bench, reference: Reference
) -> None:
    shutil.copytree(undisturbed.job_folder, bench.job_folder)
    job = bench.job
    for rank, name in ((1, "part-00005.h5"), (2, "part-00003.h5")):
        (job.folders[rank] / name).unlink()
    away = bench.folder / "away"
    with bench.healthy.lease() as lease:
        run = embed_shards([job], lease, [].append)
        assert {next(run).rank, next(run).rank} == {0, 3}
        job.folders[1].rename(away)
        finished = [next(run)]
        with pytest.raises(EmbeddingError) as failed:
            finished += run
    assert [shard.rank for shard in finished] == [2]
    assert failed.value.failures.keys() == {("esm2", 1)}
    lost = job.folders[1] / "part-00000.h5"
    assert one_line(str(failed.value)).startswith(
        f"esm2: found 1 rank that cannot be finished (rank 1: {lost}: found no file; expected "
    )
    assert [path.name for path in job.folders[1].iterdir()] == ["part-00005.h5"]

    shutil.rmtree(job.folders[1])
    away.rename(job.folders[1])
    again = {shard.rank: len(shard.parts) - shard.reused_parts for shard in bench.finish()}
    assert again == {0: 0, 1: 1, 2: 0, 3: 0}
    assert_equal(job, reference)
    assert read_shard(job.folders[1], content=True).rank == 1
