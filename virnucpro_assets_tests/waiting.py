"""Waiting for something that another process does."""

import time
from collections.abc import Callable


def wait_until(done: Callable[[], bool], seconds: float, *, pause: float = 1.0) -> float:
    """Ask `done` again and again until it says so; returns the seconds that took."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() < started + seconds, f"not done after {seconds} seconds"
        time.sleep(pause)
    return time.monotonic() - started
