"""Sequences that end their device process: found by bisection, quarantined, and all others as they would be."""

import pytest

from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import Rows, part_files
from virnucpro_assets_tests.faults.trouble import (
    BUDGET,
    PART,
    RANK,
    Trouble,
    assert_rows,
    finish,
    incidents_of,
)

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
@pytest.mark.parametrize("places", [[2], [1, 4], [0, 1]])
def test_sequences_that_end_their_process_are_found_and_no_other_is_lost(
    trouble: Trouble, numbers: Rows, places: list[int]
) -> None:
    job, heard = trouble.job(), list[str]()
    fatal = [trouble.pack[place] for place in places]
    assert len(trouble.pack) == 5

    shards = trouble.run(job, Faults(crashing=trouble.proteins(fatal)), heard=heard)

    deaths = [line for line in heard if "ended by signal SIGABRT" in line]
    assert sum(f" esm2 rank {RANK} part {PART} " in line for line in deaths) == 2
    assert sum("looking for the sequence that ends it" in line for line in deaths) == len(deaths) - 2 >= 2
    found = [QuarantinedRow(row=row, reason="kills_process") for row in fatal]
    assert incidents_of(shards) == Incidents(quarantined=found)
    assert_rows(job, numbers, lost=fatal)
    assert heard[-1].startswith(f"esm2: {len(numbers)} of {len(numbers)} (100%) sequences, ")


@pytest.mark.slow
def test_a_rank_with_a_fatal_sequence_fails_alone_and_names_it_and_is_mended_by_one_part(
    trouble: Trouble, numbers: Rows, healthy_pool: DevicePool
) -> None:
    job, fatal = trouble.job(quarantine="fail"), trouble.pack[2]
    with pytest.raises(EmbeddingError) as failed:
        trouble.run(job, Faults(crashing=trouble.proteins([fatal])))
    assert failed.value.ranks_of("esm2") == {
        RANK: f"1 sequence cannot be embedded; the first is {trouble.name(fatal)}, row {fatal} of the index: "
        "kills_process"
    }
    assert failed.value.quarantined == {("esm2", RANK): [QuarantinedRow(row=fatal, reason="kills_process")]}
    finished = [rank for rank, folder in job.folders.items() if (folder / "manifest.toml").exists()]
    assert finished == [0, 2, 3]
    before = {path: path.stat().st_ino for path in part_files(job)}

    accepting = finish(trouble.job(), healthy_pool)
    assert sum(shard.reused_parts for shard in accepting.values()) == len(before)
    assert_rows(job, numbers, lost=[fatal])

    mended = finish(job, healthy_pool)
    assert sum(shard.reused_parts for shard in mended.values()) == len(before) - 1
    assert {path for path in before if path.stat().st_ino != before[path]} == {
        job.folders[RANK] / f"part-{PART:05d}.h5"
    }
    assert incidents_of(mended) == Incidents()
    assert_rows(job, numbers)


@pytest.mark.slow
def test_a_pack_that_is_fatal_only_as_a_whole_is_cut_and_nothing_is_quarantined(
    trouble: Trouble, numbers: Rows
) -> None:
    job, heard = trouble.job(), list[str]()
    together = [trouble.pack[0], trouble.pack[-1]]

    shards = trouble.run(job, Faults(crashing_together=trouble.proteins(together)), heard=heard)

    deaths = [line for line in heard if "ended by signal SIGABRT" in line]
    assert len(deaths) == 3
    assert all(f" esm2 rank {RANK} part {PART} " in line for line in deaths)
    assert incidents_of(shards) == Incidents(split_packs=1, token_limit=BUDGET // 2)
    assert_rows(job, numbers, where=trouble.pack, tolerance=5e-6)


@pytest.mark.slow
def test_a_process_that_dies_once_of_a_pack_costs_that_part_and_nothing_else(
    trouble: Trouble, numbers: Rows
) -> None:
    job = trouble.job()
    crashing = trouble.proteins([trouble.pack[2]])
    shards = trouble.run(job, Faults(crashing=crashing, once=trouble.folder / "crashed"))
    assert (trouble.folder / "crashed").exists()
    assert incidents_of(shards) == Incidents()
    assert_rows(job, numbers)
    # The part that it died of, and the one that was still being written.
    assert 1 <= trouble.log.begun_again() <= 2
