"""Devices with little memory: packs are cut, the limit is kept and recorded, and what never fits is named."""

import pytest

from virnucpro_assets.errors import counted
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.storage.provenance import QuarantinedRow
from virnucpro_assets_tests.faults.faulty_device_process import Faults
from virnucpro_assets_tests.faults.harness import Rows, part_files
from virnucpro_assets_tests.faults.trouble import BUDGET, Trouble, assert_rows, finish, incidents_of

ROUNDING = 5e-6
"""How much an embedding may differ by what else is in its pack."""

MEMORY = 300
"""Tokens that fit: whole packs do not, their halves do."""


def test_packs_that_do_not_fit_are_cut_and_so_are_all_after_them(trouble: Trouble, numbers: Rows) -> None:
    job = trouble.job()

    shards = trouble.run(job, Faults(memory_tokens=MEMORY))

    parts = [part for shard in shards.values() for part in shard.parts]
    cut = [part for part in parts if part.counts.tokens > MEMORY]
    assert 0 < len(cut) < len(parts)
    assert [part.incidents.split_packs for part in parts] == [int(part in cut) for part in parts]
    # Half of the first pack, which was the only one to be tried whole.
    limit = -(-shards[0].parts[0].counts.tokens // 2)
    assert limit < MEMORY < BUDGET
    assert {part.incidents.token_limit for part in parts} == {limit}
    assert incidents_of(shards).quarantined == []
    assert_rows(job, numbers, where=list(numbers), tolerance=ROUNDING)


def too_large(trouble: Trouble, memory: int) -> list[int]:
    """The rows that have more tokens than fit, the two special ones included."""
    lengths = trouble.index.protein_lengths()
    return [row for row, length in enumerate(lengths.tolist()) if length + 2 > memory]


@pytest.mark.slow
def test_sequences_that_do_not_fit_alone_are_quarantined_and_all_others_embedded(
    trouble: Trouble, numbers: Rows, healthy_pool: DevicePool
) -> None:
    job, memory = trouble.job(), 101
    lost = too_large(trouble, memory)
    assert 0 < len(lost) < len(numbers)

    shards = trouble.run(job, Faults(memory_tokens=memory))

    found = incidents_of(shards).quarantined
    assert sorted(found, key=lambda entry: entry.row) == [
        QuarantinedRow(row=row, reason="out_of_memory") for row in lost
    ]
    assert_rows(job, numbers, lost=lost, where=list(numbers), tolerance=ROUNDING)

    # A device with more memory: only the parts that lack rows are computed again.
    kept = sum(not part.incidents.quarantined for shard in shards.values() for part in shard.parts)
    mended = finish(trouble.job(quarantine="fail"), healthy_pool)
    assert sum(shard.reused_parts for shard in mended.values()) == kept
    assert incidents_of(mended).quarantined == []
    assert_rows(job, numbers, where=list(numbers), tolerance=ROUNDING)


@pytest.mark.slow
def test_under_the_policy_fail_a_sequence_that_does_not_fit_fails_its_rank(trouble: Trouble) -> None:
    job, memory = trouble.job(quarantine="fail"), 101
    lost = too_large(trouble, memory)

    with pytest.raises(EmbeddingError) as failed:
        trouble.run(job, Faults(memory_tokens=memory))

    first = {rank: min(row for row in lost if row % 4 == rank) for rank in range(4)}
    counts = {rank: sum(row % 4 == rank for row in lost) for rank in range(4)}
    assert failed.value.ranks_of("esm2") == {
        rank: f"{counted(counts[rank], 'sequence')} cannot be embedded; the first is {trouble.name(row)}, row {row} "
        "of the index: out_of_memory"
        for rank, row in first.items()
    }
    assert not list(job.folders[0].parent.glob("*/manifest.toml"))
    assert len(part_files(job)) == 15
