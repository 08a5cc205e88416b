"""Devices: what a device process owns, one GPU or one CPU slot.

Nothing here touches CUDA: the devices of a machine are counted by the files of its driver,
so that the process that starts the device processes stays free of torch.
"""

import os
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import InputError

_SETTING = re.compile(r"(?P<kind>cpu|cuda)(?::(?P<detail>\d+(?:,\d+)*))?|cpu:(?P<wanted>\d+)/(?P<any_of>\d+)")
AUTOMATIC_SLOTS = 4
"""CPU slots without a word in the settings: more threads in one process gain little on small models,
and more processes hold more copies of the weights."""

_NODE = re.compile(r"nvidia(\d+)")
_UUID_MARKS = ("GPU-", "MIG-")


@dataclass(frozen=True, slots=True)
class Device:
    """GPU `number` of the machine, or CPU slot `number` with `threads` threads of its own.

    With `any_of`, any free one of so many CPU slots does in its place.
    """

    kind: Literal["cpu", "cuda"]
    number: int
    threads: int
    any_of: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def find_devices(
    setting: str, *, visible: str | None = None, driver_files: Path = Path("/dev")
) -> list[Device]:
    """The devices that a setting names.

    `auto` is every GPU, or where there is none a few CPU slots; `cuda` every GPU; `cuda:0,2`
    those GPUs; `cpu:2` two CPU slots that share the processors this process may use; `cpu:1/8` one
    of eight such slots, whichever is free, so that several processes share a machine. `visible`
    is what a scheduler leaves to this process, as in CUDA_VISIBLE_DEVICES: numbers of GPUs, an
    empty text for none, None for all.

    Raises InputError for anything else, if a GPU is asked for and none is there, or if `visible`
    names GPUs by UUID and the setting leaves the choice open.
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
            raise _unusable(setting, f"{slots} CPU slots", f"1 to {processors}, the processors here")
        return _cpu_slots(slots, processors)
    chosen = [int(number) for number in match["detail"].split(",")] if match and match["detail"] else None
    gpus = _gpus_of_the_driver(driver_files)
    if gpus and visible is not None and (allowed := _visible_numbers(visible, setting, chosen)) is not None:
        gpus = [number for number in gpus if number in allowed]
    if setting == "auto" and not gpus:
        slots = min(processors, AUTOMATIC_SLOTS)
        return _cpu_slots(slots, processors)
    chosen = gpus if chosen is None else chosen
    if len(set(chosen)) < len(chosen):
        raise _unusable(setting, "a GPU named twice", "each GPU once")
    if not chosen or not set(chosen) <= set(gpus):
        limit = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
        raise _unusable(setting, f"the GPUs {gpus}{limit}", "a GPU for each one named")
    return [Device("cuda", number, max(1, processors // len(chosen))) for number in chosen]


def names_gpus(setting: str, *, visible: str | None = None, driver_files: Path = Path("/dev")) -> bool:
    """Whether the devices of a setting are GPUs; no device needs to be there unless it is `auto`."""
    if setting == "auto":
        return any(
            device.kind == "cuda"
            for device in find_devices(setting, visible=visible, driver_files=driver_files)
        )
    return setting.startswith("cuda")


def _cpu_slots(slots: int, processors: int) -> list[Device]:
    return [Device("cpu", number, processors // slots) for number in range(slots)]


def _shared_slots(setting: str, wanted: int, any_of: int, processors: int) -> list[Device]:
    if not 0 < wanted <= any_of <= processors:
        raise _unusable(
            setting, f"{wanted} of {any_of} CPU slots", f"at most {processors} slots, the processors here"
        )
    return [Device("cpu", number, processors // any_of, any_of) for number in range(wanted)]


def _gpus_of_the_driver(driver_files: Path) -> list[int]:
    return sorted(
        int(match[1]) for path in driver_files.glob("nvidia*") if (match := _NODE.fullmatch(path.name))
    )


def _visible_numbers(visible: str, setting: str, chosen: list[int] | None) -> set[int] | None:
    """The GPUs of a CUDA_VISIBLE_DEVICES; None where it names them otherwise and `chosen` says which.

    As in CUDA itself, the list ends before the first name that is none, as in -1 or NoDevFiles.
    """
    names = [name.strip() for name in visible.split(",")]
    if any(name.startswith(_UUID_MARKS) for name in names):
        if chosen is not None:
            return None
        raise _unusable(
            setting,
            f"CUDA_VISIBLE_DEVICES {visible!r}",
            "GPUs by their numbers, because which number a UUID has is not known before CUDA starts",
            "Set VIRNUCPRO_DEVICES to the numbers of these GPUs (nvidia-smi -L lists both), "
            "for example cuda:0,1.",
        )
    return set(map(int, takewhile(str.isdecimal, names)))


def _unusable(setting: str, found: str, expected: str, advice: str = "Set VIRNUCPRO_DEVICES.") -> InputError:
    return InputError(
        "setting devices",
        where=repr(setting),
        found=found,
        expected=expected,
        advice=advice,
    )
