"""Devices: what a device process owns, one GPU or one CPU slot.

Nothing here touches CUDA: the devices of a machine are counted by the files of its driver,
so that the process that starts the device processes stays free of torch.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from virnucpro_assets.errors import InputError

_SETTING = re.compile(r"(?P<kind>cpu|cuda)(?::(?P<detail>\d+(?:,\d+)*))?")
AUTOMATIC_SLOTS = 4
"""CPU slots without a word in the settings: more threads in one process gain little on small models,
and more processes hold more copies of the weights."""

_NODE = re.compile(r"nvidia(\d+)")


@dataclass(frozen=True, slots=True)
class Device:
    """GPU `number` of the machine, or CPU slot `number` with `threads` threads of its own."""

    kind: Literal["cpu", "cuda"]
    number: int
    threads: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def find_devices(setting: str, *, driver_files: Path = Path("/dev")) -> list[Device]:
    """The devices that a setting names.

    `auto` is every GPU, or where there is none a few CPU slots; `cuda` every GPU; `cuda:0,2`
    those GPUs; `cpu:2` two CPU slots that share the processors this process may use.
    Raises InputError for anything else, or if a GPU is asked for and none is there.
    """
    gpus = sorted(
        int(match[1]) for path in driver_files.glob("nvidia*") if (match := _NODE.fullmatch(path.name))
    )
    processors = len(os.sched_getaffinity(0))
    if setting == "auto":
        setting = "cuda" if gpus else f"cpu:{min(processors, AUTOMATIC_SLOTS)}"
    match = _SETTING.fullmatch(setting)
    if match is None:
        raise _unusable(setting, "no device", "auto, cuda, cuda:0,1 or cpu:2")
    if match["kind"] == "cpu":
        slots = int(match["detail"] or 1) if "," not in (match["detail"] or "") else 0
        if not 0 < slots <= processors:
            raise _unusable(setting, f"{slots} CPU slots", f"1 to {processors}, the processors here")
        return [Device("cpu", number, processors // slots) for number in range(slots)]
    chosen = [int(number) for number in match["detail"].split(",")] if match["detail"] else gpus
    if len(set(chosen)) < len(chosen):
        raise _unusable(setting, "a GPU named twice", "each GPU once")
    if not chosen or not set(chosen) <= set(gpus):
        raise _unusable(setting, f"the GPUs {gpus}", "a GPU for each one named")
    return [Device("cuda", number, max(1, processors // len(chosen))) for number in chosen]


def _unusable(setting: str, found: str, expected: str) -> InputError:
    return InputError(
        "setting devices",
        where=repr(setting),
        found=found,
        expected=expected,
        advice="Set VIRNUCPRO_DEVICES.",
    )
