"""One device against two, on small models and CPU slots: what is counted, a kill, and the table."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu.bench import SMALL, Bench
from benchmarks.gpu.models import SMALL_DNABERT_S
from benchmarks.gpu.scaling import killed, one_against_two, table
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.models.configs import Esm2Config

pytestmark = pytest.mark.slow

SLOTS = [Device("cpu", 0, 1), Device("cpu", 1, 1)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One slot of two threads, two of one."""
    protein = Esm2Config(num_hidden_layers=6, hidden_size=128, num_attention_heads=4)
    size = replace(SMALL, shapes={"esm2": protein, "dnabert_s": SMALL_DNABERT_S}, reads=800)
    return Bench(size, Device("cpu", 0, 2), SLOTS, tmp_path)


def test_the_same_parts_are_counted_on_one_slot_and_on_two(bench: Bench) -> None:
    found = one_against_two(bench, "dnabert_s", 1.0)
    one, two = found["one"], found["two"]
    assert one["seconds"] >= 1.0
    assert one["tokens"] == two["tokens"] > 0
    assert sum(one["parts"].values()) == sum(two["parts"].values()) > 1
    assert set(two["parts"]) == {"cpu:0", "cpu:1"}
    assert two["tokens_per_second"] == pytest.approx(two["tokens"] / two["seconds"], rel=0.05)
    assert found["times_as_fast"] == pytest.approx(
        two["tokens_per_second"] / one["tokens_per_second"], abs=0.001
    )
    starting = found["start_of_both"]
    for device, seconds in starting["seconds_from_spawn_to_first_pack"].items():
        assert seconds > starting["seconds_to_load"][device] > 0
    assert 100 < starting["most_host_pss_mib"] < starting["most_host_rss_mib"] < 8192


def test_one_of_two_killed_leaves_the_other_at_work_and_the_rows_equal(bench: Bench) -> None:
    found = killed(bench)
    assert found["parts_equal_byte_by_byte"] is True
    assert "device process cpu:1: ended by signal SIGKILL" in found["heard"]
    assert found["parts_afterwards"]["cpu:0"] > 0
    assert 0 < found["killed_after_seconds"] < found["seconds"]


def test_the_table_has_what_was_measured() -> None:
    speed = {
        "one": {"steady_tokens_per_second": 90_000},
        "two": {"steady_tokens_per_second": 178_000},
        "times_as_fast": 1.96,
        "times_as_fast_steady": 1.978,
    }
    lines = table({"esm2": {"found": speed}, "uneven": {"found": {"largest_idle": 0.031}}}).splitlines()
    assert lines[2:] == [
        "| esm2, tokens a second | 90,000 | 178,000 | 1.96 | 1.978 |",
        "",
        "A long shard and a short one: a device is idle for 3.1%.",
    ]
