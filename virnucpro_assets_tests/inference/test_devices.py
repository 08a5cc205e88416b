import os
from pathlib import Path

import pytest

from virnucpro_assets.errors import DeviceError, InputError
from virnucpro_assets.inference import gpu_list
from virnucpro_assets.inference.device_process import lock_of
from virnucpro_assets.inference.devices import AUTOMATIC_SLOTS, Ask, Device, find_devices, names_gpus
from virnucpro_assets.inference.gpu_list import CudaAnswer, Gpu
from virnucpro_assets.inference.messages import Refused, Reply
from virnucpro_assets.inference.process_handle import ProcessHandle

PROCESSORS = len(os.sched_getaffinity(0))


NO_CUDA = CudaAnswer(reason="libcuda.so.1: cannot open shared object file")
NO_GPU = CudaAnswer(reason="cuInit: no CUDA-capable device is detected (100)", code=100)
MISMATCH = CudaAnswer(reason="cuInit: driver mismatch (803)", code=803)
TWO_GPUS = CudaAnswer((Gpu("GPU-a", "H100"), Gpu("GPU-b", "H100")))
ONE_PART = CudaAnswer((Gpu("MIG-c", "A100 MIG 1g.5gb"),))


def answering(answer: CudaAnswer) -> Ask:
    """CUDA that gives this answer, whatever is visible."""
    return lambda visible: answer


def never(visible: str | None) -> CudaAnswer:
    """CUDA that must not be asked."""
    raise AssertionError(f"CUDA was asked with {visible!r}")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The files of a driver in a container that was given GPU 3 of its host."""
    for name in ("nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def no_files(tmp_path: Path) -> Path:
    (tmp_path / "nvidiactl").touch()
    return tmp_path


@pytest.mark.parametrize("answer", [NO_CUDA, NO_GPU, CudaAnswer(), CudaAnswer(reason="stub", code=34)])
@pytest.mark.parametrize("visible", [None, "0", "GPU-8932f937-d72c"])
def test_auto_is_a_few_cpu_slots_where_there_is_no_gpu(
    no_files: Path, answer: CudaAnswer, visible: str | None
) -> None:
    slots = min(PROCESSORS, AUTOMATIC_SLOTS)
    expected = [Device("cpu", number, PROCESSORS // slots) for number in range(slots)]
    ask = answering(answer)
    assert find_devices("auto", visible=visible, ask=ask, driver_files=no_files) == expected
    assert not names_gpus("auto", visible=visible, ask=ask, driver_files=no_files)


@pytest.mark.parametrize("setting", ["auto", "cuda"])
def test_every_gpu_is_numbered_as_cuda_does_and_held_by_its_uuid(files: Path, setting: str) -> None:
    found = find_devices(setting, ask=answering(TWO_GPUS), driver_files=files)
    threads = max(1, PROCESSORS // 2)
    assert found == [Device("cuda", 0, threads, uuid="GPU-a"), Device("cuda", 1, threads, uuid="GPU-b")]
    assert names_gpus(setting, ask=answering(TWO_GPUS), driver_files=files)


def test_the_one_gpu_of_a_container_is_number_0_whatever_its_file_is_called(files: Path) -> None:
    for setting in ("auto", "cuda", "cuda:0"):
        [device] = find_devices(setting, ask=answering(ONE_PART), driver_files=files)
        assert (str(device), device.uuid) == ("cuda:0", "MIG-c")


def test_chosen_gpus_come_in_the_order_of_the_setting(no_files: Path) -> None:
    found = find_devices("cuda:1,0", ask=answering(TWO_GPUS), driver_files=no_files)
    assert [(device.number, device.uuid) for device in found] == [(1, "GPU-b"), (0, "GPU-a")]


@pytest.mark.parametrize("visible", [None, "1,0", "GPU-8932f937-d72c", "MIG-1a2b,MIG-3c4d"])
def test_cuda_is_asked_with_what_the_scheduler_leaves(files: Path, visible: str | None) -> None:
    asked = []

    def ask(found: str | None) -> CudaAnswer:
        asked.append(found)
        return TWO_GPUS

    find_devices("auto", visible=visible, ask=ask, driver_files=files)
    assert asked == [visible]


def test_cpu_slots_share_the_processors_and_ask_nobody() -> None:
    slots = find_devices(f"cpu:{PROCESSORS}", visible="GPU-8932f937-d72c", ask=never)
    assert slots == [Device("cpu", number, 1) for number in range(PROCESSORS)]


@pytest.mark.parametrize(
    "setting",
    ["", "gpu", "cuda:", "cuda:0,2", "cuda:0,0", "cpu:0", "cpu:1,2", "cpu:100000", "cuda:x", "cuda:3"],
)
def test_a_device_that_is_not_there_is_refused_with_the_setting(files: Path, setting: str) -> None:
    with pytest.raises(InputError, match=f"setting devices, {setting!r}: found"):
        find_devices(setting, ask=answering(TWO_GPUS), driver_files=files)


def test_a_gpu_outside_of_what_the_scheduler_leaves_is_refused(files: Path) -> None:
    expected = (
        r"'cuda:1': found the GPUs \[0\] \(CUDA_VISIBLE_DEVICES is '3'\); expected a GPU for each one named"
    )
    with pytest.raises(InputError, match=expected):
        find_devices("cuda:1", visible="3", ask=answering(ONE_PART), driver_files=files)


@pytest.mark.parametrize("visible", ["", " ", "-1", " -1,0", "NoDevFiles"])
def test_no_visible_gpu_leaves_the_processors_to_auto_and_nothing_to_cuda(files: Path, visible: str) -> None:
    found = find_devices("auto", visible=visible, ask=never, driver_files=files)
    assert {device.kind for device in found} == {"cpu"}
    with pytest.raises(InputError, match=r"found the GPUs \[\] \(CUDA_VISIBLE_DEVICES is"):
        find_devices("cuda", visible=visible, ask=never, driver_files=files)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NO_CUDA, "libcuda.so.1: cannot open shared object file"),
        (NO_GPU, "cuInit: no CUDA-capable device is detected (100)"),
        (MISMATCH, "cuInit: driver mismatch (803)"),
        (CudaAnswer(), "CUDA shows no GPU"),
        (CudaAnswer(reason="no answer for 120 s", code=-1), "no answer for 120 s"),
    ],
)
@pytest.mark.parametrize("visible", [None, "7", "GPU-gone"])
def test_a_gpu_that_is_there_and_cannot_be_used_is_an_error_that_says_why(
    files: Path, answer: CudaAnswer, reason: str, visible: str | None
) -> None:
    limit = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    for setting in ("auto", "cuda", "cuda:0"):
        with pytest.raises(DeviceError) as raised:
            find_devices(setting, visible=visible, ask=answering(answer), driver_files=files)
        assert str(raised.value).startswith(
            f"setting devices, {setting!r}: found no GPU that can be used beside {files / 'nvidia3'}{limit}: {reason}; "
        )
    with pytest.raises(DeviceError):
        names_gpus("auto", visible=visible, ask=answering(answer), driver_files=files)


def test_a_driver_that_fails_is_an_error_also_where_its_files_are_called_otherwise(no_files: Path) -> None:
    with pytest.raises(DeviceError, match=r"'auto': found no GPU that can be used: cuInit: driver mismatch"):
        find_devices("auto", ask=answering(MISMATCH), driver_files=no_files)


def test_gpus_that_are_named_where_there_is_none_are_an_error_with_the_reason(no_files: Path) -> None:
    with pytest.raises(InputError, match=r"'cuda': found the GPUs \[\]: libcuda\.so\.1: cannot open"):
        find_devices("cuda", ask=answering(NO_CUDA), driver_files=no_files)


def test_the_device_process_locks_and_sees_the_gpu_by_its_uuid(tmp_path: Path) -> None:
    assert lock_of(tmp_path, "cuda", "GPU-a") == tmp_path / "virnucpro-cuda-GPU-a.lock"
    program = (
        "import sys; from virnucpro_assets.inference import device_process as d\n"
        "import os, types; w = types.ModuleType('w')\n"
        "w.Worker = lambda device, threads, replies: sys.exit(f\"{device} {os.environ['CUDA_VISIBLE_DEVICES']}\")\n"
        "sys.modules['virnucpro_assets.inference.worker'] = w; d.main()\n"
    )
    handle = ProcessHandle(Device("cuda", 1, 1, uuid="GPU-b"), tmp_path, "refuse", ("-c", program))
    with pytest.raises(DeviceError, match=r"device process cuda:1: ended .*\(cuda:0 GPU-b\)"):
        while True:
            list(handle.read())
    handle.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["virnucpro-cuda-GPU-b.lock"]


def test_slots_that_are_shared_may_be_any_of_the_machine() -> None:
    assert find_devices(f"cpu:1/{PROCESSORS}") == [Device("cpu", 0, 1, any_of=PROCESSORS)]
    assert find_devices("cpu:1/1") == [Device("cpu", 0, PROCESSORS, any_of=1)]


@pytest.mark.parametrize("setting", ["cpu:0/1", "cpu:2/1", "cpu:1/100000", "cpu:1/", "cuda:1/2"])
def test_more_slots_than_there_are_cannot_be_shared(setting: str) -> None:
    with pytest.raises(InputError, match=f"setting devices, {setting!r}: found"):
        find_devices(setting)


def test_a_lock_that_cannot_be_taken_refuses_the_device_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "virnucpro-cpu-0.lock").symlink_to(tmp_path / "elsewhere")
    handle = ProcessHandle(Device("cpu", 0, 1), tmp_path, "refuse")
    replies: list[Reply] = []
    with pytest.raises(DeviceError):
        while True:
            replies += handle.read()
    handle.stop()
    [refused] = [reply for reply in replies if isinstance(reply, Refused)]
    assert refused.reason.startswith(f"{tmp_path / 'virnucpro-cpu-0.lock'}: found a symbolic link; ")


@pytest.fixture
def folder_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules of the user's, each of which ends whoever runs it."""
    for name in ("random", "argparse", "numpy", "torch", "pydantic", "virnucpro_assets"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the working folder was run')")
    for name in ("h5py", "safetensors"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"raise SystemExit('{name} of the working folder was run')"
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_device_process_runs_no_module_of_the_working_folder(folder_of_modules: Path) -> None:
    handle = ProcessHandle(Device("cpu", 0, 1), folder_of_modules / "locks", "refuse")
    try:
        while not handle.is_ready:
            list(handle.read())
    finally:
        handle.stop()
    assert handle.is_ready


def test_the_process_that_asks_cuda_runs_no_module_of_the_working_folder(folder_of_modules: Path) -> None:
    ask_cuda_anew = gpu_list._ask.__wrapped__
    assert "of the working folder" not in ask_cuda_anew(None).reason
    assert not ask_cuda_anew(None).reason.startswith("the process that asked")
