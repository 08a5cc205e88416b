"""What CUDA answers, by table: a library in its place, and child processes that end in other ways.

That the real library answers in this way only a machine with a GPU can show.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest

from virnucpro_assets.inference import gpu_list
from virnucpro_assets.inference.gpu_list import CudaAnswer, Gpu, ask_cuda, list_gpus, read_answer

FIRST, SECOND = UUID(int=1), UUID("8932f937-d72c-4106-c12f-20bd9faed9f6")


class Library:
    """CUDA's library with GPUs of these UUIDs and names; the functions in `codes` fail."""

    def __init__(self, gpus: list[tuple[UUID, str]], codes: dict[str, int]) -> None:
        self._gpus, self._codes = gpus, codes

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self._codes.get("cuInit", 0)

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._gpus)
        return self._codes.get("cuDeviceGetCount", 0)

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = 40 + number
        return self._codes.get("cuDeviceGet", 0)

    def cuDeviceGetUuid_v2(self, uuid: Any, device: Any) -> int:  # noqa: N802
        uuid._obj[:] = self._gpus[device.value - 40][0].bytes
        return self._codes.get("cuDeviceGetUuid_v2", 0)

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        assert size == len(name)
        name.value = self._gpus[device.value - 40][1].encode()
        return self._codes.get("cuDeviceGetName", 0)

    def cuGetErrorString(self, code: int, text: Any) -> int:  # noqa: N802
        text._obj.value = {100: b"no CUDA-capable device is detected", 803: b"driver mismatch"}.get(code)
        return 0


@pytest.mark.parametrize(
    ("gpus", "codes", "expected"),
    [
        ([], {}, CudaAnswer()),
        (
            [(FIRST, "NVIDIA H100"), (SECOND, "NVIDIA A100-SXM4-40GB MIG 1g.5gb")],
            {},
            CudaAnswer(
                (
                    Gpu(f"GPU-{FIRST}", "NVIDIA H100"),
                    Gpu(f"MIG-{SECOND}", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"),
                )
            ),
        ),
        (
            [],
            {"cuInit": 100},
            CudaAnswer(reason="cuInit: no CUDA-capable device is detected (100)", code=100),
        ),
        ([], {"cuInit": 803}, CudaAnswer(reason="cuInit: driver mismatch (803)", code=803)),
        (
            [(FIRST, "NVIDIA H100")],
            {"cuDeviceGetUuid_v2": 999},
            CudaAnswer(reason="cuDeviceGetUuid_v2: unknown error (999)", code=999),
        ),
    ],
)
def test_the_library_is_asked_for_each_gpu(
    gpus: list[tuple[UUID, str]], codes: dict[str, int], expected: CudaAnswer
) -> None:
    asked = []

    def load(name: str) -> Library:
        asked.append(name)
        return Library(gpus, codes)

    assert list_gpus(load) == expected
    assert asked == ["libcuda.so.1"]
    assert read_answer(0, json.dumps(asdict(expected)).encode(), b"") == expected


def test_a_missing_library_is_the_reason() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    answer = list_gpus(load)
    assert answer == CudaAnswer(reason="libcuda.so.1: cannot open shared object file")
    assert answer.fails_without_gpu


@pytest.mark.parametrize(
    ("code", "reason", "fails_without_gpu"),
    [(None, "", True), (None, "no library", True), (100, "x", True), (34, "x", True), (803, "x", False)],
)
def test_which_answers_a_machine_without_a_gpu_gives(
    code: int | None, reason: str, fails_without_gpu: bool
) -> None:
    assert CudaAnswer(reason=reason, code=code).fails_without_gpu is fails_without_gpu


def test_a_process_that_the_driver_ends_is_a_reason() -> None:
    answer = read_answer(-11, b"", b"line\nSegmentation fault\n")
    assert answer.reason == "the process that asked CUDA ended with -11 (Segmentation fault)"
    assert not answer.fails_without_gpu
    assert read_answer(1, b"", b"").reason.endswith("(no message)")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str | None, CudaAnswer]]:
    """What the child process answers by CUDA_VISIBLE_DEVICES, and under None how often it was started."""
    given: dict[str | None, CudaAnswer] = {}
    starts: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[:4] == [sys.executable, "-P", "-m", "virnucpro_assets.inference.gpu_list"]
        starts.append(command[4:])
        answer = given[command[4] if len(command) > 4 else None]
        return subprocess.CompletedProcess(command, 0, json.dumps(asdict(answer)).encode(), b"")

    monkeypatch.setattr(gpu_list.subprocess, "run", run)
    monkeypatch.setattr(gpu_list, "STARTS", starts, raising=False)
    gpu_list._ask.cache_clear()
    yield given
    gpu_list._ask.cache_clear()


def test_cuda_is_asked_once_and_again_only_after_it_failed(answers: dict[str | None, CudaAnswer]) -> None:
    h100, broken = CudaAnswer((Gpu("GPU-a", "H100"),)), CudaAnswer(reason="driver mismatch", code=803)
    answers |= {None: h100, "": CudaAnswer(), "0": broken}
    for visible in (None, None, "", "", "0"):
        assert ask_cuda(visible) == answers[visible]
    answers["0"] = h100
    assert ask_cuda("0") == h100
    assert gpu_list.STARTS == [[], [""], ["0"], ["0"]]


def test_each_of_several_parts_of_a_gpu_is_asked_for(answers: dict[str | None, CudaAnswer]) -> None:
    parts = {name: CudaAnswer((Gpu(name, "A100 MIG 1g.5gb"),)) for name in ("MIG-a", "MIG-b")}
    answers |= parts | {"MIG-gone": CudaAnswer(reason="cuInit: no device (100)", code=100)}

    assert [gpu.uuid for gpu in ask_cuda("MIG-a, MIG-b").gpus] == ["MIG-a", "MIG-b"]
    assert [gpu.uuid for gpu in ask_cuda("MIG-a,MIG-gone,MIG-b").gpus] == ["MIG-a"]
    assert ask_cuda("MIG-gone,MIG-b") == answers["MIG-gone"]


def test_the_child_process_answers_on_this_machine_too() -> None:
    """On a machine without a driver: that there is no library. With one, its GPUs, in two runs the same."""
    answer = ask_cuda(None)
    assert answer == list_gpus() or answer.gpus
    assert answer.gpus or answer.reason
