"""Devices: what a device process owns, one GPU or one CPU slot.

GPUs are those that CUDA shows (`gpu_list.py`), numbered from 0 as CUDA does and held by their UUIDs, so
that two processes that see different GPUs still mean the same one. Nothing here touches CUDA or torch.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import DeviceError, InputError, counted
from virnucpro_assets.inference.gpu_list import CudaAnswer, ask_cuda

_SETTING = re.compile(r"(?P<kind>cpu|cuda)(?::(?P<detail>\d+(?:,\d+)*))?|cpu:(?P<wanted>\d+)/(?P<any_of>\d+)")
AUTOMATIC_SLOTS = 4
"""CPU slots where the settings name no number: more threads in one process gain little on small models,
and more processes hold more copies of the weights."""

_NODE = re.compile(r"nvidia(\d+)")
_HIDDEN = re.compile(r"\s*(|-\d+|NoDevFiles)\s*(,.*)?")
"""A CUDA_VISIBLE_DEVICES that leaves no GPU, as schedulers write it."""

Ask = Callable[[str | None], CudaAnswer]


@dataclass(frozen=True, slots=True)
class Device:
    """GPU `number` of those that CUDA shows, by its `uuid`, or CPU slot `number`; with `threads` threads of its own.

    With `any_of`, any free one of so many CPU slots is used instead.
    """

    kind: Literal["cpu", "cuda"]
    number: int
    threads: int
    any_of: int = 0
    uuid: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def find_devices(
    setting: str, *, visible: str | None = None, ask: Ask = ask_cuda, driver_files: Path = Path("/dev")
) -> list[Device]:
    """The devices that a setting names.

    `auto` is every GPU, or where there is none a few CPU slots; `cuda` every GPU; `cuda:0,2`
    those GPUs; `cpu:2` two CPU slots that share the processors this process may use; `cpu:1/8` one
    of eight such slots, whichever is free, so that several processes share a machine. `visible`
    is what a scheduler leaves to this process, as in CUDA_VISIBLE_DEVICES: numbers or UUIDs of GPUs,
    an empty text for none, None for all. Numbers in the setting count from 0 what that leaves.

    Raises InputError for anything else, or if a GPU is named and is not there; DeviceError if a GPU is
    there and CUDA cannot use it: `auto` then never takes the CPU instead.
    """
    match = _SETTING.fullmatch(setting)
    if match is None and setting != "auto":
        raise _unusable(setting, "no device", "auto, cuda, cuda:0,1 or cpu:2")
    processors = len(os.sched_getaffinity(0))
    if match and match["any_of"]:
        return _shared_slots(setting, int(match["wanted"]), int(match["any_of"]), processors)
    if match and match["kind"] == "cpu":
        slots = int(match["detail"] or 1) if "," not in (match["detail"] or "") else 0
        if not 0 < slots <= processors:
            raise _unusable(
                setting, f"{counted(slots, 'CPU slot')}", f"1 to {processors}, the processors here"
            )
        return _cpu_slots(slots, processors)
    hidden = visible is not None and bool(_HIDDEN.fullmatch(visible))
    answer = CudaAnswer() if hidden else ask(visible)
    limit = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    if not answer.gpus and not hidden:
        _refuse_unusable(setting, answer, limit, driver_files)
        limit += f": {answer.reason}" if answer.reason else ""
    if setting == "auto" and not answer.gpus:
        slots = min(processors, AUTOMATIC_SLOTS)
        return _cpu_slots(slots, processors)
    there = range(len(answer.gpus))
    named = match["detail"] if match else None
    chosen = [int(number) for number in named.split(",")] if named else list(there)
    if len(set(chosen)) < len(chosen):
        raise _unusable(setting, "a GPU named twice", "each GPU once")
    if not chosen or not set(chosen) <= set(there):
        raise _unusable(setting, f"the GPUs {list(there)}{limit}", "a GPU for each one named, counted from 0")
    threads = max(1, processors // len(chosen))
    return [Device("cuda", number, threads, uuid=answer.gpus[number].uuid) for number in chosen]


def names_gpus(
    setting: str, *, visible: str | None = None, ask: Ask = ask_cuda, driver_files: Path = Path("/dev")
) -> bool:
    """Whether the devices of a setting are GPUs; no device needs to be there unless it is `auto`."""
    if setting == "auto":
        return any(
            device.kind == "cuda"
            for device in find_devices(setting, visible=visible, ask=ask, driver_files=driver_files)
        )
    return setting.startswith("cuda")


def _refuse_unusable(setting: str, answer: CudaAnswer, limit: str, driver_files: Path) -> None:
    """Raise DeviceError if a GPU is there and CUDA does not show it."""
    files = sorted(path.name for path in driver_files.glob("nvidia*") if _NODE.fullmatch(path.name))
    if not files and answer.fails_without_gpu:
        return
    reason = answer.reason or "CUDA shows no GPU"
    where = f" beside {', '.join(str(driver_files / name) for name in files)}" if files else ""
    raise DeviceError(
        f"setting devices, {setting!r}: found no GPU that can be used{where}{limit}: {reason}; expected GPUs that "
        "CUDA can use. Correct the driver, the container or CUDA_VISIBLE_DEVICES, or set VIRNUCPRO_DEVICES=cpu:1 to "
        "compute on the processors."
    )


def _cpu_slots(slots: int, processors: int) -> list[Device]:
    return [Device("cpu", number, processors // slots) for number in range(slots)]


def _shared_slots(setting: str, wanted: int, any_of: int, processors: int) -> list[Device]:
    if not 0 < wanted <= any_of <= processors:
        raise _unusable(
            setting,
            f"{wanted} of {counted(any_of, 'CPU slot')}",
            f"at most {counted(processors, 'slot')}, the processors here",
        )
    return [Device("cpu", number, processors // any_of, any_of) for number in range(wanted)]


def _unusable(setting: str, found: str, expected: str, advice: str = "Set VIRNUCPRO_DEVICES.") -> InputError:
    return InputError(
        "setting devices",
        where=repr(setting),
        found=found,
        expected=expected,
        advice=advice,
    )
