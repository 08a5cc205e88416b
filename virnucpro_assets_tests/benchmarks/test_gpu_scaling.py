"""One device against more, on small models and CPU slots: what is counted, a kill, and the table."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu import bench as bench_module
from benchmarks.gpu.bench import SMALL, Bench, devices_by_count
from benchmarks.gpu.models import SMALL_DNABERT_S
from benchmarks.gpu.scaling import killed, one_against_more, table, whole_job
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.models.configs import Esm2Config

SLOTS = {1: [Device("cpu", 0, 2)], 2: [Device("cpu", 0, 1), Device("cpu", 1, 1)]}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One slot of two threads, two of one."""
    protein = Esm2Config(num_hidden_layers=6, hidden_size=128, num_attention_heads=4)
    size = replace(SMALL, shapes={"esm2": protein, "dnabert_s": SMALL_DNABERT_S}, reads=800)
    return Bench(size, SLOTS, tmp_path)


@pytest.mark.slow
def test_the_same_parts_are_counted_on_one_slot_and_on_two(bench: Bench) -> None:
    found = one_against_more(bench, "dnabert_s", 1.0)
    one, two = found["devices"]["1"], found["devices"]["2"]
    assert one["seconds"] >= 1.0
    assert one["tokens"] == two["tokens"] > 0
    assert sum(one["parts"].values()) == sum(two["parts"].values()) > 1
    assert set(two["parts"]) == {"cpu:0", "cpu:1"}
    assert two["tokens_per_second"] == pytest.approx(two["tokens"] / two["seconds"], rel=0.05)
    assert found["times_as_fast"]["2"] == pytest.approx(
        two["tokens_per_second"] / one["tokens_per_second"], abs=0.001
    )
    starting = found["start_of_all"]
    for device, seconds in starting["seconds_from_spawn_to_first_pack"].items():
        assert seconds > starting["seconds_to_load"][device] > 0
    assert 100 < starting["most_host_pss_mib"] < starting["most_host_rss_mib"] < 8192


@pytest.mark.slow
def test_one_of_two_killed_leaves_the_other_at_work_and_the_rows_equal(bench: Bench) -> None:
    found = killed(bench)
    assert found["parts_equal_byte_by_byte"] is True
    assert "device process cpu:1: ended by signal SIGKILL" in found["heard"]
    assert found["parts_afterwards"]["cpu:0"] > 0
    assert 0 < found["killed_after_seconds"] < found["seconds"]


@pytest.mark.slow
def test_the_whole_job_is_timed_on_one_device_and_on_two(bench: Bench) -> None:
    found = whole_job(bench, 300)
    one, two = found["devices"]["1"], found["devices"]["2"]
    assert found["times_as_fast"]["2"] == pytest.approx(one["seconds"] / two["seconds"], rel=0.05)
    assert [figures["devices"]["esm2"]["tokens"] for figures in (one, two)] == [
        one["devices"]["esm2"]["tokens"]
    ] * 2


def test_slots_have_as_many_threads_together_for_each_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert devices_by_count([1, 2]) == SLOTS
    assert [device.threads for device in devices_by_count([1, 2, 4])[2]] == [2, 2]


def test_more_devices_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Device("cuda", number, 1, uuid=f"GPU-{number}") for number in range(2)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(bench_module, "find_devices", lambda setting: gpus)
    assert devices_by_count([1, 2]) == {1: gpus[:1], 2: gpus}
    with pytest.raises(SystemExit, match="found 2 GPUs; expected 4"):
        devices_by_count([1, 4])


def test_the_table_has_what_was_measured() -> None:
    speed = {
        "devices": {
            "1": {"steady_tokens_per_second": 90_000},
            "4": {"steady_tokens_per_second": 356_000},
        },
        "times_as_fast_steady": {"4": 3.956},
    }
    job = {"devices": {"1": {"seconds": 86.3}, "4": {"seconds": 30.1}}, "times_as_fast": {"4": 2.867}}
    lines = table(
        {
            "esm2": {"found": speed},
            "uneven": {"found": {"largest_idle": 0.031}},
            "pipeline": {"found": {"100000": job}},
        }
    ).splitlines()
    assert lines == [
        "| devices | 1 | 4 |",
        "| --- | --- | --- |",
        "| esm2, tokens a second, steady | 90,000 | 356,000 (3.956) |",
        "| whole job, 100,000 reads, seconds | 86.3 | 30.1 (2.867) |",
        "",
        "A long shard and a short one: a device is idle for 3.1%.",
    ]
