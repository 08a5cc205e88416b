import os
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.inference.devices import AUTOMATIC_SLOTS, Device, find_devices

PROCESSORS = len(os.sched_getaffinity(0))


@pytest.fixture
def two_gpus(tmp_path: Path) -> Path:
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    return tmp_path


def test_auto_is_a_few_cpu_slots_where_there_is_no_gpu(tmp_path: Path) -> None:
    slots = min(PROCESSORS, AUTOMATIC_SLOTS)
    expected = [Device("cpu", number, PROCESSORS // slots) for number in range(slots)]
    assert find_devices("auto", driver_files=tmp_path) == expected


def test_auto_is_every_gpu_where_there_are_some(two_gpus: Path) -> None:
    assert [str(device) for device in find_devices("auto", driver_files=two_gpus)] == ["cuda:0", "cuda:3"]


def test_chosen_gpus_come_in_the_order_of_the_setting(two_gpus: Path) -> None:
    assert [device.number for device in find_devices("cuda:3,0", driver_files=two_gpus)] == [3, 0]


def test_cpu_slots_share_the_processors(tmp_path: Path) -> None:
    slots = find_devices(f"cpu:{PROCESSORS}", driver_files=tmp_path)
    assert slots == [Device("cpu", number, 1) for number in range(PROCESSORS)]


@pytest.mark.parametrize(
    "setting", ["", "gpu", "cuda:", "cuda:0,1", "cuda:0,0", "cpu:0", "cpu:1,2", "cpu:100000", "cuda:x"]
)
def test_a_device_that_is_not_there_is_refused_with_the_setting(two_gpus: Path, setting: str) -> None:
    with pytest.raises(InputError, match=f"setting devices, {setting!r}: found"):
        find_devices(setting, driver_files=two_gpus)
