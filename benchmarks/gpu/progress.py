"""Lines that say at once how far a measurement is: one that is cut off still tells where its time went."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from virnucpro_assets.drops.stage_records import read_stages

_STARTED = time.monotonic()
LOOK_SECONDS = 0.5


def say(line: str) -> None:
    """Print a line, with the seconds since the program began."""
    print(f"{time.monotonic() - _STARTED:7.1f} s  {line}", flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say that something begins, and how long it took once it is done."""
    say(f"{name} ...")
    started = time.monotonic()
    yield
    say(f"{name}: {time.monotonic() - started:.1f} s")


class Watch:
    """Says which stages of the drops in a data root are done, and keeps the most memory in use on the first GPU."""

    def __init__(self, data_root: Path) -> None:
        self._root, self._said = data_root, set[Path]()
        self._most, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._say_stages()

    @property
    def most_mib(self) -> int:
        """The most MiB in use, all processes together; 0 without a GPU."""
        return self._most >> 20

    def _look(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self._say_stages()
            if torch.cuda.is_available():
                free, total = torch.cuda.mem_get_info()
                self._most = max(self._most, total - free)

    def _say_stages(self) -> None:
        for folder in self._root.glob("*/*/stages"):
            for name, record in read_stages(folder).items():
                if folder / name not in self._said:
                    self._said.add(folder / name)
                    say(f"stage {name}: {record.seconds} s")
