"""The GPUs that CUDA shows to a process, listed by a child process.

`python -m virnucpro_assets.inference.gpu_list [CUDA_VISIBLE_DEVICES]` prints a CudaAnswer as JSON. CUDA
numbers GPUs by its own rules: what a container was given counts from 0, whatever the files of the
driver are called, and CUDA_VISIBLE_DEVICES may name GPUs by number, by UUID or in part. So CUDA itself
is asked, through the driver's library, which is much faster than through torch; and in a child
process, because a process that has begun with CUDA cannot change what it sees. The order is that of
the PCI bus, as schedulers and nvidia-smi count.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any
from uuid import UUID

from virnucpro_assets.errors import excerpt

NO_DEVICE, STUB_LIBRARY = 100, 34
"""Codes of CUDA that a machine without a GPU gives: no device, and a library that is only linked against."""

SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a part of one (MIG): the UUID by which CUDA_VISIBLE_DEVICES names it, and its model."""

    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class CudaAnswer:
    """The GPUs in CUDA's order; where CUDA failed, why, and its code if it has one."""

    gpus: tuple[Gpu, ...] = ()
    reason: str = ""
    code: int | None = None

    @property
    def fails_without_gpu(self) -> bool:
        """Whether this is what a machine without any GPU answers."""
        return not self.reason or self.code in {None, NO_DEVICE, STUB_LIBRARY}


class _CudaError(Exception):
    def __init__(self, cuda: Any, call: str, code: int) -> None:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        self.code, self.reason = code, f"{call}: {(text.value or b'unknown error').decode()} ({code})"


def list_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> CudaAnswer:
    """Ask the driver's library, in this process."""
    try:
        cuda = load("libcuda.so.1")
    except OSError as error:
        return CudaAnswer(reason=str(error))
    try:
        _call(cuda, "cuInit", 0)
        count = ctypes.c_int()
        _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
        return CudaAnswer(tuple(_gpu(cuda, number) for number in range(count.value)))
    except _CudaError as error:
        return CudaAnswer(reason=error.reason, code=error.code)


def ask_cuda(visible: str | None) -> CudaAnswer:
    """The answer of a child process to which `visible` is CUDA_VISIBLE_DEVICES; it inherits that if None.

    CUDA is asked once, and again only after it failed.
    """
    answer = _ask(visible)
    if not answer.fails_without_gpu:
        _ask.cache_clear()
    return answer


@cache
def _ask(visible: str | None) -> CudaAnswer:
    names = [name.strip() for name in (visible or "").split(",")]
    if len(names) > 1 and any(name.startswith("MIG-") for name in names):
        # CUDA shows a process one part of a GPU only, so each of several is asked for by itself.
        gpus: list[Gpu] = []
        for name in names:
            answer = _ask(name)
            if not answer.gpus:
                # As in CUDA itself, the list ends before the first name that is none.
                return CudaAnswer(tuple(gpus)) if gpus else answer
            gpus += answer.gpus
        return CudaAnswer(tuple(gpus))
    command = [sys.executable, "-P", "-m", "virnucpro_assets.inference.gpu_list"]
    try:
        done = subprocess.run(
            command if visible is None else [*command, visible],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return CudaAnswer(reason=f"no answer for {SECONDS:.0f} s", code=-1)
    return read_answer(done.returncode, done.stdout, done.stderr)


def read_answer(exit_code: int, output: bytes, errors: bytes) -> CudaAnswer:
    """What the child process answered; if it ended otherwise, how."""
    if exit_code == 0:
        answer = json.loads(output)
        return CudaAnswer(tuple(Gpu(**gpu) for gpu in answer["gpus"]), answer["reason"], answer["code"])
    *_, last = ["no message", *errors.decode(errors="replace").split("\n")[-2:-1]]
    return CudaAnswer(reason=f"the process that asked CUDA ended with {exit_code} ({excerpt(last)})", code=-1)


def _gpu(cuda: Any, number: int) -> Gpu:
    device, raw, name = ctypes.c_int(), (ctypes.c_ubyte * 16)(), ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGet", ctypes.byref(device), number)
    # The second version gives a part of a GPU the UUID of the part.
    _call(cuda, "cuDeviceGetUuid_v2", ctypes.byref(raw), device)
    _call(cuda, "cuDeviceGetName", name, len(name), device)
    model = name.value.decode(errors="replace")
    kind = "MIG" if " MIG " in model else "GPU"
    return Gpu(f"{kind}-{UUID(bytes=bytes(raw))}", model)


def _call(cuda: Any, name: str, *arguments: Any) -> None:
    if code := getattr(cuda, name)(*arguments):
        raise _CudaError(cuda, name, code)


if __name__ == "__main__":
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if len(sys.argv) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = sys.argv[1]
    sys.stdout.write(json.dumps(asdict(list_gpus())))
