"""The locks of a machine's devices: the same for two users with two temporary folders."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.files.locks import LOCK_FOLDERS, machine_locks
from virnucpro_assets.inference.device_process import lock_of

IS_ROOT = os.geteuid() == 0
USERS = (61234, 61235) if IS_ROOT else (os.geteuid(), os.geteuid())
"""Two users that no machine has; without root's rights there is one."""

HOLD = """
import os, sys
from pathlib import Path
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.files.locks import locked
from virnucpro_assets.inference.device_process import lock_of
from virnucpro_assets.settings import load_settings
user, device = int(sys.argv[1]), sys.argv[2]
folder = load_settings().device_locks
if user != os.getuid():
    os.setgroups([]); os.setgid(user); os.setuid(user)
os.umask(0o077)
try:
    with locked(lock_of(folder, "cuda", device), f"user {os.getuid()}", "refuse", print):
        print("held", flush=True)
        sys.stdin.readline()
except VirnucproError as error:
    print(error, flush=True)
"""


@pytest.fixture
def device() -> Iterator[str]:
    """The name of a GPU that no machine has; its lock is removed in the end."""
    name = f"TEST-{uuid4()}"
    yield name
    lock_of(machine_locks(), "cuda", name).unlink(missing_ok=True)


def hold(user: int, device: str, folder: Path) -> subprocess.Popen[str]:
    """A process of `user` with a temporary folder of its own that holds the lock until it is told to end."""
    folder.mkdir()
    environment = {name: text for name, text in os.environ.items() if name != "VIRNUCPRO_LOCKS_FOLDER"}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(user), device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment | {"TMPDIR": str(folder)},
    )


def test_two_users_with_two_temporary_folders_never_own_one_device(tmp_path: Path, device: str) -> None:
    first = hold(USERS[0], device, tmp_path / "a")
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = hold(USERS[1], device, tmp_path / "b")
    said, _ = second.communicate()
    lock = lock_of(machine_locks(), "cuda", device)
    assert said.startswith(f"{lock}: found it held by user {USERS[0]} (process {first.pid} on ")
    if IS_ROOT:
        assert lock.stat().st_uid == USERS[0]
    first.communicate("\n")
    third = hold(USERS[1], device, tmp_path / "c")
    assert third.communicate("\n")[0] == "held\n"


def test_the_place_belongs_to_root_and_is_shared_by_all(tmp_path: Path) -> None:
    assert machine_locks() in LOCK_FOLDERS
    own, missing = tmp_path / "own", tmp_path / "missing"
    own.mkdir(0o755)
    link = tmp_path / "link"
    link.symlink_to(machine_locks())
    assert machine_locks([missing, own, link, machine_locks()]) == machine_locks()
    with pytest.raises(
        InputError, match=r"found none of .* that root shares with all users .* Set VIRNUCPRO_LOCKS"
    ):
        machine_locks([missing, own, link])


def test_a_shared_folder_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    foreign.chmod(0o1777)
    if IS_ROOT:
        os.chown(foreign, USERS[0], USERS[0])
    with pytest.raises(InputError, match="found none of"):
        machine_locks([foreign])
