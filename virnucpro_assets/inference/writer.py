"""Writing beside computing: one part at a time, while the next one is computed.

A device process holds at most two parts: the one that is being written and the one that is
being computed. When the disk is slower than the device, the device waits.
"""

import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Does one piece of writing at a time in a thread of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin with `write` once what was submitted before is done."""
        self.wait()
        self._pending = self._executor.submit(write)
        self._pending.add_done_callback(_end_process_on_error)

    def wait(self) -> float:
        """Wait until nothing is left to write; returns the seconds that took."""
        started = time.monotonic()
        if self._pending is not None:
            self._pending.result()
            self._pending = None
        return time.monotonic() - started


def _end_process_on_error(written: Future[None]) -> None:
    # The thread that computes may be waiting for orders for ever: nobody else would see the error.
    if (error := written.exception()) is not None:
        traceback.print_exception(error)
        os._exit(1)
