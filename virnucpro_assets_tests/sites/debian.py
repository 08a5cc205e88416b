"""Programs of Debian packages that tests start: found, or named with how to install them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

UNPRIVILEGED = "nobody"


def program(name: str, package: str, *, folder: str = "/usr/sbin") -> str:
    """Where a program is; the test fails, and says what to install, where it is not there."""
    places = sorted(Path("/").glob(f"{folder.lstrip('/')}/{name}"))
    found = str(places[-1]) if places else shutil.which(name)
    if found is None:
        pytest.fail(f"found no {name}; expected Debian's {package}. apt-get install {package}", pytrace=False)
    return found


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def unprivileged() -> dict[str, Any]:
    """How to start a program that refuses to run as root, for subprocess.Popen and the like."""
    return {"user": UNPRIVILEGED, "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


@contextmanager
def unprivileged_folder(prefix: str) -> Iterator[Path]:
    """A folder that belongs to whom `unprivileged` names; test folders of root are closed to others."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        if os.getuid() == 0:
            shutil.chown(name, UNPRIVILEGED, "nogroup")
        yield Path(name)


def end(process: subprocess.Popen[Any], signal_number: int, seconds: float = 20) -> None:
    """Ask a process to end, and end it if it does not in time."""
    process.send_signal(signal_number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(
    words: list[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[None]:
    """A program that runs during the block, and must still run at its end; then it ends with all it started."""
    with log.open("wb") as written:
        process = subprocess.Popen(
            words, env=environment, cwd=folder, stdout=written, stderr=written, start_new_session=True
        )
    try:
        yield
        assert process.poll() is None, log.read_text()[-6000:]
    finally:
        end(process, signal.SIGTERM)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
