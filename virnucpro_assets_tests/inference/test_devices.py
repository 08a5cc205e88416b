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


@pytest.mark.parametrize(
    ("visible", "setting", "expected"),
    [
        (None, "auto", ["cuda:0", "cuda:3"]),
        ("3", "auto", ["cuda:3"]),
        ("3, 0", "cuda", ["cuda:0", "cuda:3"]),
        ("0,-1,3", "cuda", ["cuda:0"]),
        ("3,0", "cuda:0", ["cuda:0"]),
        ("3", "cpu:1", ["cpu:0"]),
        ("GPU-8932f937-d72c", "cuda:3", ["cuda:3"]),
        ("GPU-8932f937-d72c", "cpu:1", ["cpu:0"]),
    ],
)
def test_a_scheduler_limits_the_gpus(
    two_gpus: Path, visible: str | None, setting: str, expected: list[str]
) -> None:
    found = find_devices(setting, visible=visible, driver_files=two_gpus)
    assert [str(device) for device in found] == expected


@pytest.mark.parametrize("visible", ["", " ", "-1", "7", "NoDevFiles"])
def test_no_visible_gpu_leaves_the_processors_to_auto_and_nothing_to_cuda(
    two_gpus: Path, visible: str
) -> None:
    assert {device.kind for device in find_devices("auto", visible=visible, driver_files=two_gpus)} == {"cpu"}
    with pytest.raises(InputError, match=r"found the GPUs \[\] \(CUDA_VISIBLE_DEVICES is"):
        find_devices("cuda", visible=visible, driver_files=two_gpus)


def test_a_gpu_outside_of_what_the_scheduler_leaves_is_refused(two_gpus: Path) -> None:
    expected = r"'cuda:0': found the GPUs \[3\] \(CUDA_VISIBLE_DEVICES is '3'\); expected a GPU for each"
    with pytest.raises(InputError, match=expected):
        find_devices("cuda:0", visible="3", driver_files=two_gpus)


@pytest.mark.parametrize("setting", ["auto", "cuda"])
@pytest.mark.parametrize("visible", ["GPU-8932f937-d72c", "0,MIG-1a2b"])
def test_gpus_named_by_uuid_are_left_to_the_setting(two_gpus: Path, setting: str, visible: str) -> None:
    with pytest.raises(InputError) as raised:
        find_devices(setting, visible=visible, driver_files=two_gpus)
    assert f"found CUDA_VISIBLE_DEVICES {visible!r}; expected GPUs by their numbers" in str(raised.value)
    assert "Set VIRNUCPRO_DEVICES to the numbers of these GPUs" in str(raised.value)


def test_uuids_do_not_matter_where_there_is_no_gpu(tmp_path: Path) -> None:
    assert {device.kind for device in find_devices("auto", visible="GPU-89", driver_files=tmp_path)} == {
        "cpu"
    }


def test_slots_that_are_shared_may_be_any_of_the_machine() -> None:
    assert find_devices(f"cpu:1/{PROCESSORS}") == [Device("cpu", 0, 1, any_of=PROCESSORS)]
    assert find_devices("cpu:1/1") == [Device("cpu", 0, PROCESSORS, any_of=1)]


@pytest.mark.parametrize("setting", ["cpu:0/1", "cpu:2/1", "cpu:1/100000", "cpu:1/", "cuda:1/2"])
def test_more_slots_than_there_are_cannot_be_shared(setting: str) -> None:
    with pytest.raises(InputError, match=f"setting devices, {setting!r}: found"):
        find_devices(setting)
