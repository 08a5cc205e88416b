"""What a scan costs where much has arrived before, and where much arrives at once."""

import time
from pathlib import Path

import pytest

from virnucpro_assets_tests.arriving import Arrivals

KNOWN = 2000


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.under(tmp_path, settle_seconds=5)


@pytest.mark.slow
def test_a_scan_of_2000_known_drops_reads_nothing_and_is_quick_and_its_cursor_small(
    arrivals: Arrivals,
) -> None:
    for number in range(KNOWN):
        name = f"drop-with-a-name-of-{number:04d}-and-some-letters"
        arrivals.write(f"{name}/{name}_R1.fastq")
        arrivals.write(f"{name}/{name}_R2.fastq")
    while len(arrivals.store.keys()) < KNOWN:
        arrivals.take(arrivals.scan())
    assert len(arrivals.scan().of("known")) == KNOWN
    read = max(path.stat().st_atime_ns for path in arrivals.drops.glob("*/*"))
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        assert len(arrivals.scan().of("known")) == KNOWN
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 1
    assert arrivals.cursor is not None
    assert len(arrivals.cursor.encode()) < 64 * 1024
    assert max(path.stat().st_atime_ns for path in arrivals.drops.glob("*/*")) == read
    arrivals.cursor = None
    assert len(arrivals.scan().of("known")) == KNOWN


def test_all_that_arrive_at_once_settle_together_and_the_cursor_stays_small(arrivals: Arrivals) -> None:
    number = 300
    for position in range(number):
        arrivals.write(f"d{position:03d}.fa")
    assert {one.state for one in arrivals.scan().deliveries} == {"settling"}
    assert arrivals.cursor is not None
    assert len(arrivals.cursor.encode()) < 64 * 1024
    taken = arrivals.take(arrivals.scan())
    assert sorted(one.key for one in taken) == [f"d{position:03d}" for position in range(number)]
    assert set(arrivals.states().values()) == {"known"}
